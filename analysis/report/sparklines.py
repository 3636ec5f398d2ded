"""A card's two small drawings, as SVG: where a formulation spends its training, and its loss at each noise level.

They are written by hand because there are two for each of many formulations; their colours come from the style sheet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike, NDArray

from analysis.report.phrases import rounded
from analysis.runs import cell_contents, sources
from analysis.runs.run import Run

if TYPE_CHECKING:
    import pandas as pd

WIDTH, HEIGHT, MARGIN = 240, 90, 4
POINTS = 64
"""A curve with more is thinned out."""


@dataclass(frozen=True)
class Drawing:
    """``svg`` with what its vertical ends mean, and a ``caption``."""

    svg: Markup
    top: str
    bottom: str
    caption: str


@dataclass(frozen=True)
class Losses:
    """The common loss at each noise level of the evaluated checkpoints, a mean over datasets and seeds, ``[8]`` by
    formulation, and the range of all that can be drawn."""

    by_formulation: Mapping[str, NDArray[np.float64]]
    low: float
    high: float


def budget(name: str, profile: cell_contents.Profile) -> Drawing | None:
    """The training budget over the clock, which integrates to 1, and the even one; None if it is not finite."""
    clock, spent = profile.clock, profile.budget
    if clock.shape != spent.shape or not len(clock) or not np.isfinite([clock, spent]).all():
        return None
    top = max(2.0, float(np.quantile(spent, 0.98)) * 1.1)
    peak = float(clock[int(np.argmax(spent))])
    label = f"Training budget of {name} over the clock from data to noise: largest at {peak:.2f}; dashed: an even budget."
    even = _line([0.0, 1.0], [1 / top, 1 / top], "reference")
    drawn = _svg(label, even + _line(clock, spent / top, "line"))
    return Drawing(drawn, f"{top:.1f}", "0", "Training budget over the clock; dashed: spent evenly")


def losses(run: Run, rows: pd.DataFrame) -> Losses | None:
    """The validations of the cells that are ranked, those of the table's ``rows``; None if there are none."""
    frame = cell_contents.curves(run)
    levels = [f"level_{i}" for i in range(len(sources.LEVELS))]
    frame = frame.dropna(subset=levels)
    if frame.empty:
        return None
    found = cell_contents.evaluated(frame[frame["cell"].isin(rows["cell"])], rows)
    means = found.groupby("formulation")[levels].mean()
    there = means.to_numpy()
    there = there[np.isfinite(there) & (there > 0)]
    if not len(there):
        return None
    # One formulation near divergence must not press all others into a line.
    low, high = float(there.min()), float(min(there.max(), 4 * np.quantile(there, 0.95)))
    return Losses({str(n): row.to_numpy() for n, row in means.iterrows()}, low, max(high, 1.1 * low))


def levels(name: str, leader: str, found: Losses) -> Drawing | None:
    """A formulation's loss at the eight noise levels, on a logarithmic scale that all cards share, and the leader's."""
    mine = found.by_formulation.get(name)
    if mine is None:
        return None
    label = (
        f"Validation loss of {name} at eight noise levels from data to noise: {mine[0]:.3g} to {mine[-1]:.3g}"
    )
    caption = "Validation loss by noise level, logarithmic"
    lines = _line(sources.LEVELS, _logarithmic(mine, found), "line")
    theirs = found.by_formulation.get(leader)
    if theirs is not None and leader != name:
        label += f"; dashed: {leader}."
        caption += "; dashed: the leader"
        lines = _line(sources.LEVELS, _logarithmic(theirs, found), "reference") + lines
    return Drawing(_svg(label, lines), rounded(found.high), rounded(found.low), caption)


def _logarithmic(values: NDArray[np.float64], found: Losses) -> NDArray[np.float64]:
    inside = np.clip(np.where(np.isfinite(values), values, found.high), found.low, found.high)
    return np.asarray(np.log(inside / found.low) / np.log(found.high / found.low))


def _line(x: ArrayLike, y: ArrayLike, kind: str) -> Markup:
    """A polyline through points of the unit square, cut at its edges."""
    px = MARGIN + np.clip(np.asarray(x, dtype=np.float64), 0, 1) * (WIDTH - 2 * MARGIN)
    py = HEIGHT - MARGIN - np.clip(np.asarray(y, dtype=np.float64), 0, 1) * (HEIGHT - 2 * MARGIN)
    kept = np.unique(np.linspace(0, len(px) - 1, min(len(px), POINTS)).round().astype(int))
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(px[kept], py[kept], strict=True))
    return Markup('<polyline class="{}" points="{}"/>').format(kind, points)


def _svg(label: str, inside: Markup) -> Markup:
    return (
        Markup('<svg class="spark" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
            WIDTH, HEIGHT, label
        )
        + inside
        + Markup("</svg>")
    )
