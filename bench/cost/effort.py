"""How far a worker is: the share of its work that is done, where packs differ in size and length. No torch.

Work has two halves that are told apart, training and evaluation: each is counted in operations
(:mod:`bench.planning.amounts`), as
a share of what all packs of the worker need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bench.config.experiment import Grid
from bench.cost.estimate import duration
from bench.planning.amounts import by_cell
from bench.planning.plan import Planned


class Effort(NamedTuple):
    """Shares of a worker's training and of its evaluation, each between 0 and 1."""

    training: float
    evaluation: float


def of_packs(packs: Sequence[Sequence[Planned]], grid: Grid) -> list[Effort]:
    """The effort that each pack takes; those of all packs add up to 1. Where nothing is trained, packs count alike."""
    look = by_cell(grid)
    training = [sum(look(p.cell).training for p in pack if p.state != "trained") for pack in packs]
    evaluation = [sum(sum(look(p.cell).generation.values()) for p in pack) for pack in packs]
    return [Effort(*both) for both in zip(shares(training), shares(evaluation), strict=True)]


def shares(amounts: Sequence[float]) -> list[float]:
    """Each as a share of their sum."""
    total = sum(amounts)
    return [amount / total if total else 1 / len(amounts) for amount in amounts]


def done(beat: Mapping[str, Any]) -> Effort:
    """What is done by a worker's heartbeat (:class:`worker.heart.Heart`): the packs before, and a part of the present one.

    The first half of a pack's share is its training.
    """
    share, before, part = beat["share"], Effort(*beat["before"]), Effort(*beat["part"])
    return Effort(
        before.training + part.training * min(1.0, 2 * share),
        before.evaluation + part.evaluation * max(0.0, 2 * share - 1),
    )


def progress(beat: Mapping[str, Any]) -> float:
    """The share of a worker's work that is done, between 0 and 1: both halves count alike."""
    return min(1.0, sum(done(beat)) / 2) if {"share", "before", "part"} <= beat.keys() else 0.0


def left(beat: Mapping[str, Any]) -> str:
    """``12 minutes left``, or ``12 minutes of training left`` until evaluation has been timed, by the seconds that each half
    of its work has taken a worker; nothing if it is too early."""
    if not {"share", "before", "part", "resumed", "packs"} <= beat.keys():
        return ""
    spent, (trained, measured) = beat.get("seconds", {}), done(beat)
    taught, sampled = spent.get("train", 0.0), spent.get("generate", 0.0) + spent.get("metrics", 0.0)
    own = trained - beat["resumed"]  # the rest was there when it began
    if own < 0.01 / beat["packs"] or taught < 5:
        return ""
    hours = (1 - trained) * taught / own / 3600
    known = measured >= 0.1 / beat["packs"]
    if known:
        hours += (1 - measured) * sampled / measured / 3600
    if hours < 1 / 3600:  # of which part nothing is known, or it is over at once
        return ""
    return f"{duration(hours)}s {'' if known else 'of training '}left"


def speed(beat: Mapping[str, Any]) -> str:
    """``12 steps/s`` or ``3.5 s/step``; nothing where a worker does not know."""
    rate, unit = beat.get("rate"), str(beat.get("unit", ""))
    if not isinstance(rate, int | float) or not rate > 0:
        return ""
    return f"{rate:.3g} {unit}s/s" if rate >= 1 else f"{1 / rate:.3g} s/{unit}"
