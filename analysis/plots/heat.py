"""Mean rank over the two parameters of a family: ``rf/lognorm(m,s)`` and ``edm(Pm,Ps)``."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.plots import style
from analysis.plots.captions import sentences
from analysis.plots.style import Drawn
from analysis.plots.subject import Subject, Undrawable
from analysis.ranking.blocks import seed_count
from analysis.tables.wording import count, series
from flowbench._core.lazy import lazy
from formulations.colours import MUTED, ink_on

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
else:
    pd = lazy("pandas")

MAP = "cividis"
"""Dark is good; its lightness is monotone, so it survives grey and is the same for colour-blind readers."""
CELL, TALL = 0.34, 0.24
"""Least width and height of a cell, inches: room for 5 characters."""


FAMILIES = {"rf/lognorm": ("m", "s"), "edm": ("Pm", "Ps")}
"""Families of two parameters, and their names."""


def draw(subject: Subject) -> Drawn:
    """A panel for each family with at least a 2 x 2 part of its grid; one scale of colours."""
    ranks = subject.ranking.value("rank_all").astype(float)
    ranks = ranks[np.isfinite(ranks) & ~ranks.index.isin(list(subject.dead))]
    found = {family: cells(ranks, family) for family in FAMILIES}
    found = {family: grid for family, grid in found.items() if has_square(grid.to_numpy())}
    if not found:
        forms = " nor ".join(f"{family}({','.join(names)})" for family, names in FAMILIES.items())
        raise Undrawable(f"neither {forms} has a grid of at least 2 x 2 formulations")
    figure, panels = _panels(list(found.values()), subject.width)
    values = np.concatenate([grid.to_numpy().ravel() for grid in found.values()])
    for panel, (family, grid) in zip(panels, found.items(), strict=True):
        image = _panel(panel, family, grid, (np.nanmin(values), np.nanmax(values)))
    bar = figure.colorbar(image, ax=panels, shrink=0.9, pad=0.02, aspect=28)
    bar.set_label("mean rank")
    bar.ax.invert_yaxis()
    bar.solids.set(rasterized=False, edgecolor="face", linewidth=0.2)
    bar.outline.set_visible(False)  # type: ignore[operator]
    words = " and ".join(found)
    dead = {name: why for name, why in subject.dead.items() if any(_numbers(name, f) for f in found)}
    number = count(int(np.isfinite(values).sum()), "formulation")
    caption = sentences(
        f"Rank, the mean Pareto front index (lower is better), of {number} of {words}, by their",
        "parameters, over",
        f"all control settings on {series(subject.datasets)}, {seed_count(subject.seed_counts)};",
        f"ranked among {count(len(subject.order), 'formulation')}.",
        subject.left_out(dead),
    )
    return Drawn("heat", f"Rank over the parameters of {words}", caption, figure)


def cells(ranks: pd.Series[float], family: str) -> pd.DataFrame:
    """Ranks ``[first, second]`` of a family's members; NaN where there is none."""
    found = {_numbers(str(name), family): float(rank) for name, rank in ranks.items()}
    found.pop(None, None)
    grid = pd.Series(found, dtype=float).unstack() if found else pd.DataFrame()
    return grid.sort_index(axis=0).sort_index(axis=1)


def _numbers(name: str, family: str) -> tuple[float, float] | None:
    match = re.fullmatch(rf"{re.escape(family)}\(([^(),]+),([^(),]+)\)", name)
    try:
        return (float(match[1]), float(match[2])) if match else None
    except ValueError:
        return None


def has_square(grid: NDArray[np.float64]) -> bool:
    """Whether two rows and two columns of a grid have all four cells."""
    there = np.isfinite(grid)
    return any((there[i] & there[j]).sum() >= 2 for i, j in itertools.combinations(range(len(there)), 2))


def _panels(grids: list[pd.DataFrame], width: float) -> tuple[Any, list[Axes]]:
    """Side by side where the cells are wide enough for their numbers, else one below the other."""
    columns, rows = [g.shape[1] for g in grids], [g.shape[0] for g in grids]
    needed = [CELL * c + 0.5 for c in columns]
    if sum(needed) <= width - 0.6:
        figure = style.figure(width, max(TALL * max(rows), 0.9) + 0.6)
        panels = figure.subplots(1, len(grids), squeeze=False, width_ratios=columns)
    else:
        figure = style.figure(max(width, max(needed) + 0.6), TALL * sum(rows) + 0.6 * len(grids))
        panels = figure.subplots(len(grids), 1, squeeze=False, height_ratios=rows)
    return figure, list(panels.flat)


def _panel(panel: Axes, family: str, grid: pd.DataFrame, ends: tuple[float, float]) -> Any:
    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    scale, shades = Normalize(*ends), colormaps[MAP]
    edges = [np.arange(n + 1) - 0.5 for n in (grid.shape[1], grid.shape[0])]
    values = np.ma.masked_invalid(grid.to_numpy())
    image = panel.pcolormesh(*edges, values, cmap=shades, norm=scale, linewidth=0)
    for (row, column), rank in np.ndenumerate(grid.to_numpy()):
        if np.isfinite(rank):
            ink = ink_on(*shades(scale(rank))[:3])
            panel.text(column, row, f"{rank:.2f}", ha="center", va="center", fontsize=style.SMALL, color=ink)
        else:
            panel.text(column, row, "–", ha="center", va="center", color=MUTED)
    panel.set_xticks(range(grid.shape[1]), [f"{v:g}" for v in grid.columns])
    panel.set_yticks(range(grid.shape[0]), [f"{v:g}" for v in grid.index])
    panel.tick_params(length=0)
    for side in ("left", "bottom"):
        panel.spines[side].set_visible(False)
    first, second = FAMILIES[family]
    panel.set(xlabel=second, ylabel=first, title=family)
    return image
