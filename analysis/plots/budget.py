"""Where a formulation spends its training, and what error results: two panels over the noise levels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.plots import legends, lines, style
from analysis.plots.levels import losses, ratio_axis
from analysis.plots.style import Drawn
from analysis.plots.subject import Subject, Undrawable, merged, sentences
from analysis.results import cells
from analysis.tables.wording import count
from flowbench._core.lazy import lazy
from formulations.colours import MUTED

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
else:
    pd = lazy("pandas")

TALLEST = 8.0
"""Upper end of the budget's axis: some go to infinity at the ends of the clock."""


def draw(subject: Subject) -> Drawn:
    """The budget, and the error beside it or below it."""
    error, lost = errors(subject)
    profiles = cells.profiles(subject.run)
    if error.empty:
        raise subject.absent("validation losses by noise level (metrics.jsonl)")
    if len(error) < 2:
        raise Undrawable("with one formulation there is nothing to compare")
    names = [name for name in error.index if name in profiles]
    if not names:
        raise Undrawable("no cell tells its training budget (config.json)")
    lit = subject.highlighted(names)
    figure, (left, right) = lines.grid(2, subject.width, legend=len(lit) + 1)
    for name in names:
        clock, look = profiles[name].clock, {**style.OTHERS, "zorder": 1}
        if name in lit:
            place = lit.index(name)
            look = style.line(
                name, zorder=lines.height(name, place), markevery=lines.every(len(clock), place)
            )
        left.plot(clock, profiles[name].budget, **look)
    _budget_axis(left, [profiles[name] for name in names])
    lines.draw(right, error.loc[names], lit)
    right.axhline(1, color=MUTED, linewidth=0.6, zorder=0)
    ratio_axis(right, error.loc[names])
    right.set_ylabel("loss / mean loss of all")
    legends.legend(figure, lit, len(names) - len(lit))
    caption = sentences(
        f"First panel: training budget of {count(len(names), 'formulation')}, the share of the loss that falls on each",
        "noise level, per unit of the clock. Second: validation loss at eight levels, divided by its geometric mean over",
        "the formulations, on",
        f"{' and '.join(subject.datasets)}; at the evaluated checkpoints, {subject.seeds_told()}"
        + ("" if len(subject.datasets) == 1 else ", geometric means over datasets")
        + ". Logarithmic axis.",
        subject.highlight_told(lit, names),
        subject.left_out(lost),
    )
    return Drawn("budget", "Training budget and resulting error", caption, figure)


def errors(subject: Subject) -> tuple[pd.DataFrame, dict[str, str]]:
    """Losses ``[F, levels]`` relative to the geometric mean over formulations, and over datasets their geometric mean."""
    parts: list[pd.DataFrame] = []
    lost: dict[str, dict[str, str]] = {}
    for dataset in subject.datasets:
        table, lost[dataset] = losses(subject, dataset)
        parts.append(table.map(np.log))
    names = [name for name in subject.order if all(name in part.index for part in parts)]
    relative = [part.loc[names] - part.loc[names].mean(axis=0) for part in parts]
    return (sum(relative[1:], relative[0]) / len(relative)).map(np.exp), merged(lost)


def _budget_axis(panel: Axes, profiles: list[cells.Profile]) -> None:
    inner = [p.budget[(p.clock > 0.03) & (p.clock < 0.97)] for p in profiles]
    heights = np.concatenate(inner)
    top = float(np.max(heights[np.isfinite(heights)], initial=0.0))
    panel.set_ylim(0, min(1.08 * top, TALLEST) or 1)
    panel.set_xlim(0, 1)
    panel.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    panel.set_xlabel("clock  s = b/(a+b)   (0 data, 1 noise)")
    panel.set_ylabel("training budget")
