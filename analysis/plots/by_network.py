"""Several networks during training, as in figure 4 of arXiv 2403.03206: what they reach against what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.plots import legends, lines, network_curves, scales, style, widths
from analysis.plots.captions import merged, sentences
from analysis.plots.network_curves import LOSSES, METRICS, Curve, Quantity
from analysis.plots.style import Drawn
from analysis.plots.subject import Subject, Undrawable
from analysis.plots.training import BEGIN
from analysis.runs import networks
from analysis.tables.wording import names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COSTS = ("steps", "operations", "seconds")
Row = tuple[str, Quantity, list[Curve]]
"""Panels of a data set, one for each cost."""


def draw(subject: Subject) -> Drawn:
    """A row of losses for each data set, and of each metric if weights of milestones were measured: a panel for each cost, a
    line for each network."""
    places = networks.places(subject.run)
    if not places:
        raise Undrawable("all trainings are of one network")
    order = list(dict.fromkeys(network for _, network in places.values()))
    lost = _lost(subject)
    kept = [name for name in subject.order if name not in lost]
    rows = _curves(subject, places, kept)
    if not rows:
        raise subject.absent("validation losses of a formulation in every seed and network (metrics.jsonl)")
    every = [one for _, _, some in rows for one in some]
    costs = [cost for cost in COSTS if all(cost in one.costs for one in every)]
    looks = {network: style.numbered(place) for place, network in enumerate(order)}
    figure, panels = lines.grid(
        len(rows) * len(costs),
        subject.width,
        below=legends.legend_height(subject.width, len(order)),
        page=len(costs),
    )
    several = len({dataset for dataset, _, _ in rows}) > 1
    for (dataset, quantity, some), row in zip(rows, _rows(panels, len(costs)), strict=True):
        for panel, cost in zip(row, costs, strict=True):
            most = max(one.costs[cost].max() for of, _, each in rows for one in each if of == dataset)
            _panel(panel, some, quantity, cost, float(most), looks)
            if panel is row[0] or widths.across(subject.width) == 1:
                panel.set_ylabel(quantity.label)
            if several:
                panel.set_title(widths.dataset_shown(dataset))
    legends.legend(figure, (), more={n: looks[n] for n in order if n in {one.network for one in every}})
    shown = list(dict.fromkeys(quantity.name for _, quantity, _ in rows))
    title = "Validation loss by network" if len(shown) == 1 else "During training, by network"
    return Drawn("networks", title, _caption(subject, rows, kept, lost, costs), figure)


def _curves(
    subject: Subject, places: Mapping[str, tuple[str, str]], formulations: Sequence[str]
) -> list[Row]:
    """The losses of each data set, and the metrics that any of its networks has."""
    found: dict[str, dict[Quantity, list[Curve]]] = {}
    quantities = [Quantity.of(subject.metric(name)) for name in METRICS if name in subject.run.metrics]
    for where, (dataset, network) in places.items():
        loss = network_curves.losses(subject, where, network, formulations)
        if loss is None:
            continue
        kinds = found.setdefault(dataset, {LOSSES: []})
        kinds[LOSSES].append(loss)
        for quantity in quantities:
            made = network_curves.measured(subject, where, loss, formulations, quantity)
            if made is not None:
                kinds.setdefault(quantity, []).append(made)
    order = (LOSSES, *quantities)
    return [(dataset, q, kinds[q]) for dataset, kinds in found.items() for q in order if q in kinds]


def _lost(subject: Subject) -> dict[str, str]:
    """The formulations that lack a log in a seed of some network, and why: a mean over others could not be compared."""
    logs = subject.validations
    return merged({d: subject.lacking(logs[logs["dataset"] == d], d) for d in subject.datasets})


def _rows(panels: Sequence[Axes], count: int) -> list[Sequence[Axes]]:
    return [panels[i : i + count] for i in range(0, len(panels), count)]


def _panel(
    panel: Axes,
    curves: Sequence[Curve],
    of: Quantity,
    cost: str,
    most: float,
    looks: Mapping[str, Mapping[str, Any]],
) -> None:
    """Lines with their bands over costs up to ``most``, on one axis of values, whatever the cost."""
    power = 3 * int(np.log10(most) // 3) if cost == "operations" else 0
    for one in curves:
        x, look = one.costs[cost] / 10**power, looks[one.network]
        band: dict[str, Any] = {"color": look["color"], "alpha": 0.15, "linewidth": 0, "zorder": 2}
        panel.fill_between(x, of.back(one.mean - one.half), of.back(one.mean + one.half), **band)
        panel.plot(x, of.back(one.mean), **{**look, "markevery": max(1, len(x) // 8), "zorder": 3})
    late = [one.costs["steps"] >= BEGIN * one.costs["steps"].max() for one in curves]
    edges = [
        one.mean[k] + side * one.half[k] for one, k in zip(curves, late, strict=True) for side in (-1, 1)
    ]
    values = of.back(np.concatenate(edges))
    log = of.log and scales.wide_range(values)
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
    subject: Subject, rows: Sequence[Row], kept: Sequence[str], lost: Mapping[str, str], costs: Sequence[str]
) -> str:
    mean = f"the geometric mean over {names(kept, most=99)}" if len(kept) > 1 else f"of {kept[0]}"
    datasets = list(dict.fromkeys(dataset for dataset, _, _ in rows))
    measured = list(dict.fromkeys(quantity.name for _, quantity, _ in rows if quantity != LOSSES))
    titles = " and ".join(subject.metric(name).title for name in measured)
    return sentences(
        f"Validation loss on {names(datasets, most=99)} (common to all formulations, lower is better), {mean};",
        f"{subject.averaged('bands one standard deviation over seeds')}.",
        f"{titles} of images by the EMA weights at milestones of the training, means over the same formulations and all "
        f"sampler settings, geometric ones of FID; bands likewise. {subject.recipes(*measured)}"
        if measured
        else "",
        "Networks share the draws of a seed, so that their differences are known better than the bands suggest",
        "(analysis.pairs --by model).",
        "Operations are those of the plan." if "operations" in costs else "",
        "Seconds are those of a pack on its machine, with its validations, divided by its trainings."
        if "seconds" in costs
        else "Seconds are not shown, as not every training has noted them.",
        subject.left_out(lost),
    )
