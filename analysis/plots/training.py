"""The figures of training: losses by noise level and by step, and where a formulation spends its training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.plots import lines, scales, style
from analysis.plots.captions import merged, sentences
from analysis.plots.style import Drawn
from analysis.plots.subject import Part, Shown, Subject, Undrawable
from analysis.runs.cell_contents import Profile, evaluated, profiles
from analysis.runs.sources import LEVELS
from analysis.tables.wording import count, series
from bench.config.kept_weights import milestone
from flowbench._core.lazy import lazy
from formulations.colours import MUTED

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
else:
    pd = lazy("pandas")

TALLEST = 8.0
"""Upper end of the budget's axis: some go to infinity at the ends of the clock."""
LOSS = "validation loss, lower is better"
BEGIN = 0.1
"""Fraction of the training that may lie above the axis: the first steps would take all room."""


def levels(subject: Subject) -> Drawn:
    """Validation loss at each noise level, relative to the best formulation there: a panel for each dataset."""
    shown = Shown(subject, _compared(subject, subject.parts(lambda dataset: losses(subject, dataset))))
    figure, panels = lines.panels(shown, shown.datasets)
    for panel, part in zip(panels, shown.parts, strict=True):
        ratio = Part(part.dataset, part.table / part.table.min(axis=0))
        lines.draw(panel, ratio, shown.lit)
        _ratio_axis(panel, ratio.table)
        panel.set_ylabel("loss / best loss at that level")
    caption = sentences(
        f"Validation loss of {shown.named()} at eight noise levels, divided by",
        f"the smallest at that level among those shown; at the evaluated checkpoints, {subject.averaged()}.",
        "Logarithmic axis.",
        shown.coloured(),
        shown.not_shown("a log of every seed"),
        shown.left_out(),
    )
    return Drawn("levels", "Validation loss by noise level", caption, figure)


def budget(subject: Subject) -> Drawn:
    """Where formulations spend their training, and the error next to it or below it."""
    (error,) = _compared(subject, [errors(subject)])
    there = profiles(subject.run)
    names = [name for name in error.table.index if name in there]
    if not names:
        raise Undrawable("no cell has its training budget (config.json)")
    error = Part(error.dataset, error.table.loc[names], error.lost)
    shown = Shown(subject, [error])
    figure, (left, right) = lines.panels(shown, ["", ""])
    for name in names:
        clock, look = there[name].clock, {**style.OTHERS, "zorder": 1}
        if name in shown.lit:
            look = lines.look_of(name, shown.lit.index(name), len(clock))
        left.plot(clock, there[name].budget, **look)
    _budget_axis(left, [there[name] for name in names])
    lines.draw(right, error, shown.lit)
    right.axhline(1, color=MUTED, linewidth=0.6, zorder=0)
    _ratio_axis(right, error.table)
    right.set_ylabel("loss / mean loss of all")
    several = ", geometric means over datasets" if len(subject.datasets) > 1 else ""
    caption = sentences(
        f"First panel: training budget of {count(len(names), 'formulation')}, the share of the loss that falls on each",
        "noise level, per unit of the clock. Second: validation loss at eight levels, divided by its geometric mean over",
        "the formulations, on",
        f"{series(subject.datasets)}; at the evaluated checkpoints, {subject.averaged()}{several}.",
        "Logarithmic axis.",
        shown.coloured(),
        subject.left_out(error.lost),
    )
    return Drawn("budget", "Training budget and resulting error", caption, figure)


def curves(subject: Subject) -> Drawn:
    """Validation loss against training steps: a panel for each dataset."""
    parts = subject.parts(lambda dataset: over_seeds(subject, dataset, "val_loss"))
    if not parts:
        raise subject.absent("validation losses during training (metrics.jsonl)")
    shown = Shown(subject, parts)
    figure, panels = lines.panels(shown, shown.datasets)
    cut = []
    for panel, part in zip(panels, parts, strict=True):
        lines.draw(panel, part, shown.lit, band=True)
        cut.append(_curve_axes(panel, part, shown.lit))
    caption = sentences(
        f"Validation loss (common to all formulations, lower is better) of {shown.named()} during training;",
        f"{subject.averaged('bands one standard deviation over seeds')}.",
        f"Losses of the first {BEGIN:.0%} of the training may lie above the axis." if any(cut) else "",
        shown.coloured(),
        shown.not_shown("a log of every seed"),
        shown.left_out(),
    )
    return Drawn("curves", "Validation loss during training", caption, figure)


def _compared(subject: Subject, parts: list[Part]) -> list[Part]:
    """The parts by noise level that are not empty, if any of them has formulations to compare."""
    found = [part for part in parts if len(part.table)]
    early = [str(name) for name in subject.rows["weights"].unique() if milestone(name) is not None]
    if not found and early and len(subject.validations):
        raise Undrawable(f"no model was validated at the step of {series(early)}")
    if not found:
        raise subject.absent("validation losses by noise level (metrics.jsonl)")
    if max(len(part.table) for part in found) < 2:
        raise Undrawable("with one formulation there is nothing to compare")
    return found


def losses(subject: Subject, dataset: str) -> Part:
    """Mean loss over seeds ``[F, levels]`` at the evaluated checkpoint (the last if it is unknown)."""
    rows = subject.validations
    rows = rows[rows["dataset"] == dataset]
    names = [f"level_{i}" for i in range(len(LEVELS))]
    values = rows[names].to_numpy(dtype=np.float64)
    rows = evaluated(rows[(np.isfinite(values) & (values > 0)).all(axis=1)], subject.rows)
    lost = subject.lacking(rows, dataset)
    kept = rows[~rows["formulation"].isin(list(lost))]
    means = kept.groupby("formulation", observed=True)[names].mean().set_axis(list(LEVELS), axis="columns")
    return Part(dataset, means.reindex([name for name in subject.order if name in means.index]), lost)


def errors(subject: Subject) -> Part:
    """Losses ``[F, levels]`` relative to the geometric mean over formulations, and over datasets their geometric mean."""
    parts = [losses(subject, dataset) for dataset in subject.datasets]
    logs = [part.table.map(np.log) for part in parts]
    names = [name for name in subject.order if all(name in part.index for part in logs)]
    relative = [part.loc[names] - part.loc[names].mean(axis=0) for part in logs]
    mean = sum(relative[1:], relative[0]) / len(relative)
    return Part(subject.datasets[0], mean.map(np.exp), merged({part.dataset: part.lost for part in parts}))


def over_seeds(subject: Subject, dataset: str, number: str) -> Part:
    """Mean and deviation of a ``number`` over seeds ``[F, steps]`` at the steps at which all seeds were validated."""
    rows = subject.validations
    rows = rows[(rows["dataset"] == dataset) & np.isfinite(rows[number])]
    lost = subject.lacking(rows, dataset)
    rows = rows[~rows["formulation"].isin(list(lost))]
    if rows.empty:
        return Part(dataset, pd.DataFrame(), lost)
    groups = rows.groupby(["formulation", "step"], observed=True)[number]
    whole = groups.size().unstack() == rows["seed"].nunique()
    order = [name for name in subject.order if name in whole.index]
    mean, sd = (table.unstack().where(whole).reindex(order) for table in (groups.mean(), groups.std(ddof=1)))
    mean = mean.dropna(axis="columns", how="all")
    return Part(dataset, mean, lost, sd.reindex(columns=mean.columns))


def _ratio_axis(panel: Axes, ratio: pd.DataFrame) -> None:
    """Ratios on a logarithmic axis over the clock."""
    panel.set_ylim(*scales.spread(ratio.to_numpy(), True))
    scales.log_axis(panel.yaxis)
    _clock_axis(panel)


def _clock_axis(panel: Axes) -> None:
    panel.set_xlim(0, 1)
    panel.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    panel.set_xlabel("clock  s = b/(a+b)   (0 data, 1 noise)")


def _budget_axis(panel: Axes, found: list[Profile]) -> None:
    heights = np.concatenate([p.budget[(p.clock > 0.03) & (p.clock < 0.97)] for p in found])
    top = float(np.max(heights[np.isfinite(heights)], initial=0.0))
    panel.set_ylim(0, min(1.08 * top, TALLEST) or 1)
    _clock_axis(panel)
    panel.set_ylabel("training budget")


def _curve_axes(panel: Axes, part: Part, lit: list[str]) -> bool:
    """Axes on which the edges of later bands are seen; returns whether some of the beginning is above them."""
    steps = part.table.columns.to_numpy(dtype=np.float64)
    assert part.half is not None
    mean, sd = part.table.reindex(lit), part.half.reindex(lit)
    late, *edges = (
        table.loc[:, steps >= BEGIN * steps.max()] for table in (part.table, mean - sd, mean + sd)
    )
    log = scales.wide_range(late.to_numpy())
    low, high = scales.spread(pd.concat([late, *edges]).to_numpy(), log)
    panel.set_ylim(low, high)
    if log:
        scales.log_axis(panel.yaxis)
    scales.steps_axis(panel, steps)
    panel.set_ylabel(LOSS)
    return bool(np.nanmax(part.table.to_numpy()) > high)
