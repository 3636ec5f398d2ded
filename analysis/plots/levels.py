"""Validation loss at each noise level, relative to the best formulation there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.plots import legends, lines, scales
from analysis.plots.style import Drawn
from analysis.plots.subject import Subject, Undrawable, merged, sentences
from analysis.results.cells import evaluated
from analysis.results.sources import LEVELS
from analysis.tables.wording import count
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
else:
    pd = lazy("pandas")

CLOCK = "clock  s = b/(a+b)   (0 data, 1 noise)"


def draw(subject: Subject) -> Drawn:
    """A panel for each dataset."""
    found = {dataset: losses(subject, dataset) for dataset in subject.datasets}
    found = {dataset: value for dataset, value in found.items() if len(value[0])}
    if not found:
        raise subject.absent("validation losses by noise level (metrics.jsonl)")
    if max(len(table) for table, _ in found.values()) < 2:
        raise Undrawable("with one formulation there is nothing to compare")
    names = list(dict.fromkeys(name for table, _ in found.values() for name in table.index))
    lit = subject.highlighted(names)
    figure, panels = lines.grid(len(found), subject.width, legend=len(lit) + 1)
    for panel, (table, _) in zip(panels, found.values(), strict=True):
        ratio = table / table.min(axis=0)
        lines.draw(panel, ratio, lit)
        ratio_axis(panel, ratio)
        panel.set_ylabel("loss / best loss at that level")
    scales.dataset_titles(panels, list(found))
    legends.legend(figure, lit, len(names) - len(lit))
    caption = sentences(
        f"Validation loss of {count(len(names), 'formulation')} on {' and '.join(found)} at eight noise levels, divided by",
        f"the smallest at that level among those shown; at the evaluated checkpoints, {subject.seeds_told()}.",
        "Logarithmic axis.",
        subject.highlight_told(lit, names),
        subject.not_shown(found, "a log of every seed"),
        subject.left_out(merged({dataset: lost for dataset, (_, lost) in found.items()})),
    )
    return Drawn("levels", "Validation loss by noise level", caption, figure)


def losses(subject: Subject, dataset: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """Mean loss over seeds ``[F, levels]`` at the evaluated checkpoint (the last if it is unknown), and who is left out."""
    rows = subject.validations
    rows = rows[rows["dataset"] == dataset]
    levels = [f"level_{i}" for i in range(len(LEVELS))]
    values = rows[levels].to_numpy(dtype=np.float64)
    rows = rows[(np.isfinite(values) & (values > 0)).all(axis=1)]
    rows = evaluated(rows, subject.rows)
    lost = subject.without_all(rows, dataset)
    kept = rows[~rows["formulation"].isin(list(lost))]
    means = kept.groupby("formulation", observed=True)[levels].mean().set_axis(list(LEVELS), axis="columns")
    return means.reindex([name for name in subject.order if name in means.index]), lost


def ratio_axis(panel: Axes, ratio: pd.DataFrame) -> None:
    """Ratios on a logarithmic axis over the clock."""
    panel.set_ylim(*scales.spread(ratio.to_numpy(), True))
    scales.log_axis(panel.yaxis)
    panel.set_xlim(0, 1)
    panel.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    panel.set_xlabel(CLOCK)
