"""Validation loss against training steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.plots import legends, lines, scales
from analysis.plots.style import Drawn
from analysis.plots.subject import Subject, merged, sentences
from analysis.tables.wording import count
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
else:
    pd = lazy("pandas")

BEGIN = 0.1
"""Share of the training that may lie above the axis: the first steps would take all room."""


def draw(subject: Subject) -> Drawn:
    """A panel for each dataset."""
    found = {dataset: over_seeds(subject, dataset) for dataset in subject.datasets}
    found = {dataset: value for dataset, value in found.items() if len(value[0])}
    if not found:
        raise subject.absent("validation losses during training (metrics.jsonl)")
    names = list(dict.fromkeys(name for mean, _, _ in found.values() for name in mean.index))
    lit = subject.highlighted(names)
    figure, panels = lines.grid(len(found), subject.width, legend=len(lit) + 1)
    cut = False
    for panel, (mean, sd, _) in zip(panels, found.values(), strict=True):
        lines.draw(panel, mean, lit, sd, band=True)
        bands = [mean.reindex(lit) + sign * sd.reindex(lit) for sign in (-1, 1)]
        cut |= _axes(panel, mean, pd.concat(bands))
    scales.dataset_titles(panels, list(found))
    legends.legend(figure, lit, len(names) - len(lit))
    caption = sentences(
        f"Validation loss (common to all formulations, lower is better) of {count(len(names), 'formulation')} on",
        f"{' and '.join(found)} during training; {subject.seeds_told('bands one standard deviation over seeds')}.",
        f"Losses of the first {BEGIN:.0%} of the training may lie above the axis." if cut else "",
        subject.highlight_told(lit, names),
        subject.not_shown(found, "a log of every seed"),
        subject.left_out(merged({dataset: lost for dataset, (_, _, lost) in found.items()})),
    )
    return Drawn("curves", "Validation loss during training", caption, figure)


def over_seeds(subject: Subject, dataset: str) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, str]]:
    """Mean and deviation over seeds ``[F, steps]`` at the steps at which all seeds were validated, and who is left out."""
    rows = subject.validations
    rows = rows[(rows["dataset"] == dataset) & np.isfinite(rows["val_loss"])]
    lost = subject.without_all(rows, dataset)
    rows = rows[~rows["formulation"].isin(list(lost))]
    if rows.empty:
        return pd.DataFrame(), pd.DataFrame(), lost
    groups = rows.groupby(["formulation", "step"], observed=True)["val_loss"]
    whole = groups.size().unstack() == rows["seed"].nunique()
    order = [name for name in subject.order if name in whole.index]
    mean, sd = (table.unstack().where(whole).reindex(order) for table in (groups.mean(), groups.std(ddof=1)))
    return (
        mean.dropna(axis="columns", how="all"),
        sd.reindex(columns=mean.dropna(axis="columns", how="all").columns),
        lost,
    )


def _axes(panel: Axes, mean: pd.DataFrame, bands: pd.DataFrame) -> bool:
    """Returns whether some of the beginning is above the axis; the edges of later bands are seen."""
    from matplotlib.ticker import FuncFormatter

    steps = mean.columns.to_numpy(dtype=np.float64)
    late, edges = (table.loc[:, steps >= BEGIN * steps.max()] for table in (mean, bands))
    log = scales.wide_range(late.to_numpy())
    ends = scales.spread(pd.concat([late, edges]).to_numpy(), log)
    panel.set_ylim(*ends)
    if log:
        scales.log_axis(panel.yaxis)
    panel.set_xlim(0, steps.max() * 1.02)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: scales.thousands(value)))
    panel.set_xlabel("training steps")
    panel.set_ylabel("validation loss, lower is better")
    return bool(np.nanmax(mean.to_numpy()) > ends[1])
