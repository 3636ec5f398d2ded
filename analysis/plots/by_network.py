"""Validation loss of several networks during training, as in figure 4 of arXiv 2403.03206: against what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.plots import legends, lines, scales, style, widths
from analysis.plots.captions import merged, sentences
from analysis.plots.style import Drawn
from analysis.plots.subject import Subject, Undrawable
from analysis.plots.training import BEGIN, LOSS
from analysis.runs import networks
from analysis.runs.recipe_fields import flat
from analysis.runs.timings import pack_of
from analysis.tables.wording import names

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Array = NDArray[np.float64]
COSTS = ("steps", "operations", "seconds")
STEPS = "training.steps"


@dataclass(frozen=True, eq=False)
class Curve:
    """A network's validation loss at the steps ``[X]`` at which all trainings were validated, the geometric mean over
    formulations: its logarithm's ``mean`` and standard deviation (``half``) over seeds.

    ``costs`` ``[X]`` of one training up to there, by `COSTS`: operations and seconds only where they are known.
    """

    network: str
    mean: Array
    half: Array
    costs: Mapping[str, Array]


def draw(subject: Subject) -> Drawn:
    """A row for each data set: a panel for each cost, a line for each network."""
    places = networks.places(subject.run)
    if not places:
        raise Undrawable("all trainings are of one network")
    order = list(dict.fromkeys(network for _, network in places.values()))
    lost = _lost(subject)
    kept = [name for name in subject.order if name not in lost]
    found: dict[str, list[Curve]] = {}
    for where, (dataset, network) in places.items():
        made = curve(subject, where, network, kept)
        if made is not None:
            found.setdefault(dataset, []).append(made)
    if not found:
        raise subject.absent("validation losses of a formulation in every seed and network (metrics.jsonl)")
    every = [one for some in found.values() for one in some]
    costs = [cost for cost in COSTS if all(cost in one.costs for one in every)]
    looks = {network: style.numbered(place) for place, network in enumerate(order)}
    figure, panels = lines.grid(
        len(found) * len(costs),
        subject.width,
        below=legends.legend_height(subject.width, len(order)),
        page=len(costs),
    )
    for (dataset, some), row in zip(found.items(), _rows(panels, len(costs)), strict=True):
        for panel, cost in zip(row, costs, strict=True):
            _panel(panel, some, cost, looks)
            if panel is row[0] or widths.across(subject.width) == 1:
                panel.set_ylabel(LOSS)
            if len(found) > 1:
                panel.set_title(widths.dataset_shown(dataset))
    legends.legend(figure, (), more={n: looks[n] for n in order if n in {one.network for one in every}})
    return Drawn(
        "networks", "Validation loss by network", _caption(subject, found, kept, lost, costs), figure
    )


def curve(subject: Subject, where: str, network: str, formulations: Sequence[str]) -> Curve | None:
    """The curve of a network, whose rows have ``where`` for their data set, over some ``formulations``; None without a
    step at which all of them have a loss in every seed."""
    rows = subject.validations
    rows = rows[(rows["dataset"] == where) & rows["formulation"].isin(list(formulations))]
    rows = rows[np.isfinite(rows["val_loss"]) & (rows["val_loss"] > 0)]
    rows = rows.assign(loss=np.log(rows["val_loss"]))
    groups = rows.groupby(["seed", "step"], observed=True)
    whole = (groups.size().unstack() == len(formulations)).all(axis=0)
    means = groups["loss"].mean().unstack().loc[:, whole]
    if means.empty:
        return None
    steps = means.columns.to_numpy(dtype=np.float64)
    half = means.std(ddof=1) if len(means) > 1 else 0 * means.mean()
    known = {
        "steps": steps,
        "operations": steps * _operations(subject, where),
        "seconds": _seconds(subject, rows, steps),
    }
    costs = {name: cost for name, cost in known.items() if np.isfinite(cost).all()}
    return Curve(network, means.mean().to_numpy(), half.to_numpy(), costs)


def _lost(subject: Subject) -> dict[str, str]:
    """The formulations that lack a log in a seed of some network, and why: a mean over others could not be compared."""
    logs = subject.validations
    return merged({d: subject.lacking(logs[logs["dataset"] == d], d) for d in subject.datasets})


def _operations(subject: Subject, where: str) -> float:
    """Of a step, by the plan; NaN where a table does not have them."""
    row = subject.rows[subject.rows["dataset"] == where].iloc[0]
    steps = flat(str(row["recipe"])).get(STEPS)
    return float(row.get("train_flops", np.nan)) / steps if steps else np.nan


def _seconds(subject: Subject, rows: pd.DataFrame, steps: Array) -> Array:
    """Up to each step, of a training's part of its pack, the mean over trainings; NaN where some are not noted."""
    packs = {cell: pack_of(subject.run, cell) or np.nan for cell in rows["cell"].unique()}
    spent = rows["seconds"] / rows["cell"].map(packs).astype(float)
    means = spent.groupby(rows["step"]).agg(lambda values: values.mean(skipna=False))
    return np.asarray(means.reindex(steps), dtype=np.float64)


def _rows(panels: Sequence[Axes], count: int) -> list[Sequence[Axes]]:
    return [panels[i : i + count] for i in range(0, len(panels), count)]


def _panel(panel: Axes, curves: Sequence[Curve], cost: str, looks: Mapping[str, Mapping[str, Any]]) -> None:
    """Lines with their bands on one axis of losses, whatever the cost."""
    most = max(float(one.costs[cost].max()) for one in curves)
    power = 3 * int(np.log10(most) // 3) if cost == "operations" else 0
    for one in curves:
        x, look = one.costs[cost] / 10**power, looks[one.network]
        band: dict[str, Any] = {"color": look["color"], "alpha": 0.15, "linewidth": 0, "zorder": 2}
        panel.fill_between(x, np.exp(one.mean - one.half), np.exp(one.mean + one.half), **band)
        panel.plot(x, np.exp(one.mean), **{**look, "markevery": max(1, len(x) // 8), "zorder": 3})
    late = [one.costs["steps"] >= BEGIN * one.costs["steps"].max() for one in curves]
    edges = [
        one.mean[k] + side * one.half[k] for one, k in zip(curves, late, strict=True) for side in (-1, 1)
    ]
    values = np.exp(np.concatenate(edges))
    log = scales.wide_range(values)
    panel.set_ylim(*scales.spread(values, log))
    if log:
        scales.log_axis(panel.yaxis)
    scales.steps_axis(panel, np.array([most / 10**power]))
    labels = {
        "steps": "training steps",
        "operations": f"training compute, 1e{power} FLOPs",
        "seconds": "seconds of training",
    }
    panel.set_xlabel(labels[cost])


def _caption(
    subject: Subject,
    found: Mapping[str, Sequence[Curve]],
    kept: Sequence[str],
    lost: Mapping[str, str],
    costs: Sequence[str],
) -> str:
    mean = f"the geometric mean over {names(kept, most=99)}" if len(kept) > 1 else f"of {kept[0]}"
    return sentences(
        f"Validation loss on {names(list(found), most=99)} (common to all formulations, lower is better), {mean};",
        f"{subject.averaged('bands one standard deviation over seeds')}.",
        "Networks share the draws of a seed, so that their differences are known better than the bands suggest",
        "(analysis.pairs --by model).",
        "Operations are those of the plan." if "operations" in costs else "",
        "Seconds are those of a pack on its machine, with its validations, divided by its trainings."
        if "seconds" in costs
        else "Seconds are not shown, as not every training has noted them.",
        subject.left_out(lost),
    )
