"""Figures of lines: the highlighted ones in colour, all others thin and grey behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.plots import legends, style, widths
from analysis.plots.subject import Part, Shown
from formulations.colours import LINES, colour, linestyle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ASIDE = 0.08
"""By how much the first and the last line with bars stand apart, in natural logarithms."""


def draw(panel: Axes, part: Part, lit: Sequence[str], *, band: bool = False) -> None:
    """A line for each row of the table ``[F, X]`` of ``part``, over its columns, with bars or a ``band`` where it has some.

    Lines with bars, which stand on a logarithmic axis, are set off sideways a little, so that no bar hides another.
    """
    columns = part.table.columns.to_numpy(dtype=np.float64)
    for name in part.table.index.difference(list(lit), sort=False):
        panel.plot(columns, part.table.loc[name], zorder=1, **style.OTHERS)
    there = [name for name in lit if name in part.table.index]
    for place, name in enumerate(there):
        x, y = columns, part.table.loc[name].to_numpy(dtype=np.float64)
        if part.half is not None and np.isfinite(part.half.loc[name]).any():
            half = part.half.loc[name].to_numpy(dtype=np.float64)
            if band:
                look: dict[str, Any] = {"color": colour(name), "alpha": 0.15, "linewidth": 0, "zorder": 2}
                panel.fill_between(x, y - half, y + half, **look)
            else:
                x = columns * np.exp(ASIDE * (place / max(len(there) - 1, 1) - 0.5))
                panel.errorbar(x, y, half, **style.bars(name))
        panel.plot(x, y, **look_of(name, place, len(x)))


def look_of(name: str, place: int, points: int) -> dict[str, Any]:
    """The look of one of several lines, best first. Broken lines are drawn over solid ones, so that all of coinciding lines
    can be seen; else the better on top. Each has about eight markers, next to those of the others."""
    many = max(1, points // 8)
    zorder = 3 + LINES.index(linestyle(name)) - 0.01 * place
    return style.line(name, zorder=zorder, markevery=(place % many, many))


def grid(
    many: int, width: float, heights: tuple[float, float] = (2.2, 2.8), below: float = 0.1, page: int = 2
) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels, ``page`` side by side where it is a page wide, and room ``below`` them; ``heights`` of
    a narrow and of a wide panel, inches."""
    columns = min(many, widths.across(width, page))
    rows = -(-many // columns)
    height = heights[width / columns >= 1.5 * widths.COLUMN]
    figure = style.figure(width, height * rows + below)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel in panels[many:]:
        panel.remove()
    return figure, panels[:many]


def panels(
    shown: Shown, datasets: Sequence[str], more: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each entry of ``datasets``, titled where these differ, over a legend of the formulations in
    colour and of ``more`` lines by their words."""
    width = shown.subject.width
    figure, made = grid(len(datasets), width, below=legends.legend_height(width, len(shown.lit) + 1))
    titles(made, datasets)
    legends.legend(figure, shown.lit, shown.others, more=more)
    return figure, made


def titles(made: Sequence[Axes], datasets: Sequence[str]) -> None:
    """A title on each panel where there are several datasets."""
    if len(set(datasets)) > 1:
        for panel, dataset in zip(made, datasets, strict=True):
            panel.set_title(widths.dataset_shown(dataset))
