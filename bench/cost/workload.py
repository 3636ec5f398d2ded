"""How far a worker is: the fraction of its work that is done, where packs differ in size and length. No torch.

Training and evaluation are the two halves of its work: each is counted in operations
(:mod:`bench.planning.requirements`), as a fraction of the operations of all its packs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bench.config.experiment import Grid
from bench.cost.estimate import duration
from bench.planning.plan import Planned
from bench.planning.requirements import by_cell


class Workload(NamedTuple):
    """Fractions of a worker's training and of its evaluation, each between 0 and 1."""

    training: float
    evaluation: float


def of_packs(packs: Sequence[Sequence[Planned]], grid: Grid) -> list[Workload]:
    """The workload of each pack; they add up to 1. Where nothing is trained, packs count alike."""
    look = by_cell(grid)
    training = [sum(look(p.cell).training for p in pack if p.state != "trained") for pack in packs]
    evaluation = [sum(sum(look(p.cell).generation.values()) for p in pack) for pack in packs]
    return [Workload(*both) for both in zip(normalised(training), normalised(evaluation), strict=True)]


def normalised(values: Sequence[float]) -> list[float]:
    """Each as a fraction of their sum."""
    total = sum(values)
    return [value / total if total else 1 / len(values) for value in values]


def done(beat: Mapping[str, Any]) -> Workload:
    """The finished part by a worker's heartbeat (:class:`bench.worker.heartbeat.Heartbeat`): the packs before, and a part of
    the present one. The first half of a pack's ``share`` is its training."""
    share, before, part = beat["share"], Workload(*beat["before"]), Workload(*beat["part"])
    return Workload(
        before.training + part.training * min(1.0, 2 * share),
        before.evaluation + part.evaluation * max(0.0, 2 * share - 1),
    )


def progress(beat: Mapping[str, Any]) -> float:
    """The fraction of a worker's work that is done, between 0 and 1: both halves count alike."""
    return min(1.0, sum(done(beat)) / 2) if beat else 0.0


def left(beat: Mapping[str, Any]) -> str:
    """``12 minutes left``, or ``12 minutes of training left`` until evaluation has been timed, by the seconds that each half
    of its work has taken a worker; nothing if it is too early."""
    if not beat:
        return ""
    spent, (trained, measured) = beat.get("seconds", {}), done(beat)
    training, evaluation = spent.get("train", 0.0), spent.get("generate", 0.0) + spent.get("metrics", 0.0)
    own = trained - beat["resumed"]  # the rest was there when it began
    if own < 0.01 / beat["packs"] or training < 5:
        return ""
    hours = (1 - trained) * training / own / 3600
    if known := measured >= 0.1 / beat["packs"]:
        hours += (1 - measured) * evaluation / measured / 3600
    if hours < 1 / 3600:  # over at once, or the rest cannot be estimated yet
        return ""
    return f"{duration(hours)}s {'' if known else 'of training '}left"


def speed(beat: Mapping[str, Any]) -> str:
    """``12 steps/s`` or ``3.5 s/step``; nothing without a rate."""
    if not (rate := beat.get("rate")):
        return ""
    return f"{rate:.3g} {beat['unit']}s/s" if rate >= 1 else f"{1 / rate:.3g} s/{beat['unit']}"
