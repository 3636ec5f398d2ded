"""By what a comparison is decided: the options ``--metric`` and ``--margin``. No torch."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from bench.config.experiment import Grid
from bench.data.shapes import WORLDS
from bench.metrics.compositional_accuracy import parts_of
from bench.metrics.run_metrics import columns
from flowbench._core.command import FLOAT
from flowbench._core.errors import UserError, nearest

USUAL = "fid"
"""The metric that decides unless another one is named."""


@dataclass(frozen=True)
class Decision:
    """The ``metric`` that decides, and the smallest difference in it that matters: in percent of metrics of log scale, else
    in the metric's unit; None if every difference does."""

    metric: str = USUAL
    margin: float | None = None


def add_decision(group: argparse._ArgumentGroup) -> None:
    """Add the options."""
    group.add_argument("--metric", metavar="NAME", help=f"the metric that decides (default {USUAL})")
    group.add_argument(
        "--margin",
        type=FLOAT,
        metavar="X",
        help="smallest difference in it that matters (percent of FID and val_loss, else in the metric's unit): then "
        "'equivalent' is an answer, too",
    )


def check(decision: Decision, grid: Grid) -> None:
    """Raises :class:`UserError` for a metric that cannot decide, or that no dataset or extractor of the grid has."""
    metrics = {m.name: m for m in columns(grid.evaluation.metrics)}
    known = [m.name for m in metrics.values() if m.ranked and m.higher_is_better is not None]
    if decision.metric not in known:
        raise UserError(f"--metric {decision.metric!r}: {nearest(decision.metric, sorted(known))}")
    metric = metrics[decision.metric]
    worlds = [WORLDS[name] for name in grid.datasets if name in WORLDS]
    parts = {part for world in worlds for part in parts_of(world)}
    part = metric.name.removeprefix("composition_")
    if metric.needs == "shapes" and not (worlds and (part == metric.name or part in parts)):
        needed = [name for name, world in WORLDS.items() if part == metric.name or part in parts_of(world)]
        raise UserError(f"--metric {metric.name} needs the datasets {' or '.join(needed)}: see --datasets")
    if metric.needs == "texts" and grid.evaluation.extractor.partition(":")[0] == "inception":
        raise UserError(f"--metric {metric.name} needs an extractor that reads texts: see --extractor")


def decision_of(args: argparse.Namespace) -> Decision:
    """The decision that was asked for. Raises :class:`UserError`."""
    if args.margin is not None and not 0 < args.margin < float("inf"):
        raise UserError(f"--margin {args.margin:g}: must be a finite number greater than 0")
    return Decision(args.metric or USUAL, args.margin)
