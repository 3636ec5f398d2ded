"""Formulations against a baseline, and a race among all of them, that may be looked at after every seed.

Both rest on paired differences by seed (`analysis.comparisons.paired`) and on intervals that hold at all looks together
(`analysis.stats.sequential`). `analysis.comparisons.comparison` writes what is found here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np

from analysis.comparisons.paired import Lost, Measured, comparable_metrics, measured
from analysis.runs import spellings, training_stages
from analysis.runs.schema import Results
from analysis.stats import sequential
from analysis.stats.sequential import LEVEL
from bench.metrics.metric import Metric
from flowbench._core.errors import UserError, nearest

Verdict = Literal["better", "worse", "equivalent", "undecided"]
IN_WORDS: dict[sequential.Decision, Verdict] = {
    "higher": "better",
    "lower": "worse",
    "equivalent": "equivalent",
    "undecided": "undecided",
}
"""Of differences whose positive values are better."""


@dataclass(frozen=True)
class Comparison:
    """A formulation minus the baseline in one metric, over the ``n`` seeds that both have finished.

    * ``estimate``, ``low``, ``high``: in percent of the baseline if ``percent``, else in the metric's unit; the ends are
      infinite while the seeds are too few for an interval
    * ``e_value``: evidence against no difference; ``p_better``: posterior probability that the formulation is better, which
      has no error rate
    * ``seeds_needed``: in all, for a verdict at the present mean and deviation; None beyond 1,000 or where unknown
    * ``verdict``: without a margin undecided where both have one value in all seeds, as a score that is 0 early in training
    * ``apart``: root mean square of the paired differences over the standard deviation of the baseline between seeds, as the
      metric is compared; NaN with fewer than two seeds or without such a deviation
    * ``lost``: seeds without a value, of the formulation or the baseline. Then there is no interval and no verdict, and
      the numbers are NaN.
    """

    formulation: str
    metric: str
    percent: bool
    n: int
    estimate: float
    low: float
    high: float
    e_value: float
    p_better: float
    verdict: Verdict
    seeds_needed: int | None
    lost: tuple[Lost, ...] = ()
    apart: float = math.nan

    @property
    def settled(self) -> bool:
        """Whether no further seed is needed: there is a verdict, or a lost seed that precludes one."""
        return self.verdict != "undecided" or bool(self.lost)


@dataclass(frozen=True)
class Comparisons:
    """Every rival of ``baseline`` in every metric, the ``primary`` one first, and there by the estimate, best first.

    ``level`` is the probability of any false verdict by the primary metric at any look; each rival has ``each`` of it.
    ``margin`` is the primary metric's, in percent where that is of log scale, else in its unit.
    """

    baseline: str
    primary: str
    margin: float | None
    level: float
    metrics: dict[str, Metric]
    rows: tuple[Comparison, ...]
    stages: tuple[str, ...] = ()
    """How results of several stages of training were trained (`analysis.runs.training_stages`)."""

    @property
    def rivals(self) -> tuple[str, ...]:
        """All other formulations, in the order of the rows."""
        return tuple(row.formulation for row in self.of(self.primary))

    @property
    def each(self) -> float:
        """The level of one rival (union bound)."""
        return self.level / len(self.rivals)

    def of(self, metric: str) -> tuple[Comparison, ...]:
        """The rows of one metric."""
        return tuple(row for row in self.rows if row.metric == metric)

    @property
    def settled(self) -> bool:
        """Whether no rival needs a further seed for a verdict by the primary metric."""
        return all(row.settled for row in self.of(self.primary))


class Beaten(NamedTuple):
    """Which formulation beat one that is out of a race, and over how many seeds of the two; ``by`` is None of one that is
    out since it has seeds without a value."""

    by: str | None
    seeds: int


@dataclass(frozen=True)
class Race:
    """``survivors``, best first, are the formulations that no other has beaten in ``metric``; ``out`` are the others.

    ``lost`` are seeds without a value by formulation. It is ``decided`` if one survivor is left, or if all survivors are
    equivalent to one another.
    """

    metric: str
    margin: float | None
    level: float
    survivors: tuple[str, ...]
    out: dict[str, Beaten]
    lost: dict[str, tuple[Lost, ...]]
    decided: bool

    @property
    def settled(self) -> bool:
        """Whether no further seed is needed: it is decided, or all have seeds without a value, which precludes that."""
        return self.decided or self.lost.keys() >= set(self.survivors)


def against(
    results: Results,
    baseline: str,
    metrics: Sequence[str] | None = None,
    primary: str = "fid",
    margin: float | None = None,
    level: float = LEVEL,
) -> Comparisons:
    """Compare every other formulation of a results table with ``baseline``.

    ``metrics`` are those to show after the ``primary`` one, by default all that the ranking shows and that have values. The
    primary metric decides, at ``level / k`` for k rivals; the others have intervals of the same level, each for itself, and
    no margin. A pair in which either has a diverged, failed or missing entry has no interval in that metric. Seeds that are
    pending, or that only one of the two has, are not counted.

    Raises `UserError` for a baseline that the table lacks or that has no rival, as
    `analysis.comparisons.paired.measured`, for a margin
    that is not positive and for a level outside (0, 1).
    """
    _check_level(level)
    first = measured(results, primary)
    baseline = _known(baseline, first.names)
    others = comparable_metrics(results) if metrics is None else metrics
    all_of = [first, *(measured(results, m) for m in dict.fromkeys(others) if m != primary)]
    rivals = [name for name in first.names if name != baseline]
    limit = first.limit(margin)
    rows = [
        [_compare(m, name, baseline, limit if m is first else None, level / len(rivals)) for name in rivals]
        for m in all_of
    ]
    sign = -1 if first.metric.higher_is_better else 1
    estimates = [sign * row.estimate for row in rows[0]]
    order = sorted(range(len(rivals)), key=lambda i: (math.isnan(estimates[i]), estimates[i]))
    flat = tuple(row[i] for row in rows for i in order)
    shown = {m.metric.name: m.metric for m in all_of}
    stages = training_stages.described(results.frame)
    return Comparisons(baseline, primary, margin, level, shown, flat, stages)


def survivors(
    results: Results, metric: str = "fid", margin: float | None = None, level: float = LEVEL
) -> Race:
    """Find the formulations of a results table that no other one beats in ``metric`` at ``level / (F - 1)``.

    The best formulation has F - 1 rivals. Each beats it falsely, at any look, with probability ``level / (F - 1)`` at most,
    so with probability ``1 - level`` it survives all looks, whenever the race stops. If all survivors are then equivalent to
    one another, each is within the margin of the best, with the same probability.

    Formulations may leave at different times: a pair is compared on the seeds that both have finished, so one that is no
    longer trained keeps its verdict. One with a diverged, failed or missing entry has no mean to compare; it is out, for
    that reason, as soon as another formulation has no such entry. What it alone had beaten is back in the race, as the best
    of the others may be among that.

    Raises `UserError` as `analysis.comparisons.paired.measured`, for a margin that is not positive and for a level
    outside (0, 1).
    """
    _check_level(level)
    found = measured(results, metric)
    limit, each = found.limit(margin), level / max(1, len(found.names) - 1)
    lost = {name: gone for name in found.names if (gone := found.lost(name))}
    racing = [name for name in found.names if name not in lost]
    evidence: dict[str, tuple[float, Beaten]] = {}
    equivalent = set[tuple[str, str]]()
    for one, other in combinations(racing, 2):
        apart = list(found.better(one, other))
        verdict = sequential.verdict(apart, limit, each)
        if limit is None and found.at_rest(one, other):
            continue
        if verdict == "equivalent":
            equivalent.add((one, other))
        elif verdict != "undecided":
            winner, loser = (one, other) if verdict == "higher" else (other, one)
            weight = sequential.e_value(apart)
            if loser not in evidence or weight > evidence[loser][0]:
                evidence[loser] = weight, Beaten(winner, len(apart))
    out = {name: Beaten(None, gone[0].of) for name, gone in lost.items() if racing}
    out |= {name: beaten for name, (_, beaten) in evidence.items()}
    left = _best_first(found, [name for name in found.names if name not in out])
    decided = all((min(pair), max(pair)) in equivalent for pair in combinations(left, 2))
    return Race(metric, margin, level, left, out, lost, decided)


def _compare(found: Measured, name: str, baseline: str, limit: float | None, level: float) -> Comparison:
    lost = (*found.lost(name), *found.lost(baseline))
    gains = list(found.better(name, baseline))
    metric, n = found.metric.name, len(gains)
    if lost:
        return Comparison(name, metric, found.log, n, *(math.nan,) * 5, "undecided", None, lost)
    rests = limit is None and found.at_rest(name, baseline)
    span = sequential.interval(gains, level)
    ends = (span.low, span.high) if found.metric.higher_is_better else (-span.high, -span.low)
    estimate = span.estimate if found.metric.higher_is_better else -span.estimate
    shown = [percent(v) if found.log else v for v in (estimate, *ends)]
    return Comparison(
        formulation=name,
        metric=metric,
        percent=found.log,
        n=n,
        estimate=shown[0],
        low=shown[1],
        high=shown[2],
        e_value=sequential.e_value(gains),
        p_better=sequential.positive_probability(gains),
        verdict="undecided" if rests else IN_WORDS[sequential.verdict(gains, limit, level)],
        seeds_needed=None if rests else sequential.seeds_needed(gains, limit, level),
        apart=found.apart(name, baseline),
    )


def percent(log_ratio: float) -> float:
    """A log ratio in percent; infinite ends stay infinite, as they are no interval."""
    return 100 * math.expm1(log_ratio) if math.isfinite(log_ratio) else log_ratio


def _best_first(found: Measured, names: list[str]) -> tuple[str, ...]:
    """Names by their mean over the seeds that all of them have finished."""
    rows = [found.names.index(name) for name in names]
    common = (found.states[rows] == "done").all(axis=(0, 1))
    if not common.any():
        return tuple(names)
    means = found.values[rows][:, :, common].mean(axis=(1, 2))
    order = np.argsort(-means if found.metric.higher_is_better else means, kind="stable")
    return tuple(names[i] for i in order)


def _known(baseline: str, names: Sequence[str]) -> str:
    name = spellings.known(baseline, names)
    if name is None:
        raise UserError(f"the baseline {baseline!r} is not in the table; {nearest(baseline, names)}")
    if len(names) == 1:
        raise UserError(f"{baseline!r} is the only formulation of the table: it has no rival")
    return name


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise UserError(f"the level is {level:g}, not between 0 and 1")
