"""What the figures of lines share: the highlighted ones in colour, all others thin and grey behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.plots import legends, style, widths
from formulations.colours import LINES, colour, linestyle

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ASIDE = 0.08
"""By how much the first and the last line with bars stand apart, in natural logarithms."""


def draw(
    panel: Axes,
    table: pd.DataFrame,
    lit: Sequence[str],
    reach: pd.DataFrame | None = None,
    *,
    band: bool = False,
) -> None:
    """A line for each row of ``table`` ``[F, X]``, over its columns; ``reach``, of the same shape, as bars or as a ``band``.

    Lines with bars, which stand on a logarithmic axis, are set off sideways a little, so that no bar hides another.
    """
    columns = table.columns.to_numpy(dtype=np.float64)
    for name in table.index:
        if name not in lit:
            panel.plot(columns, table.loc[name], zorder=1, **style.OTHERS)
    there = [name for name in lit if name in table.index]
    for place, name in enumerate(there):
        x, y = columns, table.loc[name].to_numpy(dtype=np.float64)
        if reach is not None and np.isfinite(reach.loc[name]).any():
            half = reach.loc[name].to_numpy(dtype=np.float64)
            if band:
                look: dict[str, Any] = {"color": colour(name), "alpha": 0.15, "linewidth": 0, "zorder": 2}
                panel.fill_between(x, y - half, y + half, **look)
            else:
                x = columns * np.exp(ASIDE * (place / max(len(there) - 1, 1) - 0.5))
                look = {"ecolor": colour(name), "elinewidth": 0.7, "alpha": 0.75, "zorder": 2}
                panel.errorbar(x, y, half, fmt="none", **look)
        look = {"zorder": height(name, place), "markevery": every(len(x), place)}
        panel.plot(x, y, **style.line(name, **look))


def height(name: str, place: int) -> float:
    """Drawing order: broken lines over solid ones, so that all of coinciding lines can be seen; else the better on top."""
    return 3 + LINES.index(linestyle(name)) - 0.01 * place


def every(points: int, place: int) -> tuple[int, int]:
    """First and distance of about eight markers; those of different lines stand beside one another."""
    many = max(1, points // 8)
    return place % many, many


def grid(many: int, width: float, legend: int = 0) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels, side by side where it is a page wide, and room for a legend of so many entries."""
    columns = min(many, widths.across(width))
    rows = -(-many // columns)
    height = 2.2 if width / columns < 1.5 * widths.COLUMN else 2.8
    figure = style.figure(width, height * rows + legends.legend_height(width, legend))
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel in panels[many:]:
        panel.remove()
    return figure, panels[:many]
