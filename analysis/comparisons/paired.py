"""What formulations measured in each seed, and the paired differences of two of them.

All formulations of a seed share initial weights, data order and noise, so a difference within a seed is free of what they
share. Formulations may have different numbers of seeds: a pair uses those that both have finished.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.runs import schema
from analysis.runs.schema import Results
from analysis.stats.two_way import ROUNDING
from bench.config import sampling_settings
from bench.metrics.metric import Metric
from flowbench._core.errors import UserError, nearest
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

Array = NDArray[np.float64]
LOST = ("diverged", "failed", "missing")
"""States of an entry that no further training of the same cell fills, the worst first."""


@dataclass(frozen=True)
class Lost:
    """In how many of a formulation's ended seeds it has no value, and why."""

    formulation: str
    state: str
    seeds: int
    of: int


@dataclass(frozen=True, eq=False)
class Measured:
    """One metric by formulation, dataset and seed, ``[F, D, S]``.

    * ``values``: the mean over control settings, its logarithm if ``log``; NaN where there is none
    * ``states``: ``done``, ``pending``, ``absent`` (not trained, or the metric was not measured) or one of `LOST`
    """

    metric: Metric
    log: bool
    names: tuple[str, ...]
    seeds: tuple[int, ...]
    values: Array
    states: NDArray[Any]

    def differences(self, one: str, other: str) -> Array:
        """Formulation ``one`` minus ``other`` in each seed that both have finished in every dataset: the mean over datasets,
        for ``log`` of the log ratio. What is smaller than rounding is 0."""
        i, j = self.names.index(one), self.names.index(other)
        both = (self.states[[i, j]] == "done").all(axis=(0, 1))
        apart: Array = (self.values[i] - self.values[j])[:, both].mean(axis=0)
        there = ~np.isnan(self.values)
        largest = np.max(np.abs(self.values), initial=1.0 if self.log else 0.0, where=there)
        return np.where(np.abs(apart) > ROUNDING * largest, apart, 0.0)

    def better(self, one: str, other: str) -> Array:
        """`differences` with the sign for which positive values are better."""
        return self.differences(one, other) * (1 if self.metric.higher_is_better else -1)

    def apart(self, name: str, baseline: str) -> float:
        """Root mean square of the `differences` over the standard deviation of the baseline's seeds; NaN without one."""
        both = (self.states[[self.names.index(n) for n in (name, baseline)]] == "done").all(axis=(0, 1))
        levels = self.values[self.names.index(baseline)][:, both].mean(axis=0)
        noise = float(levels.std(ddof=1)) if len(levels) > 1 else 0.0
        apart = float(np.sqrt(np.square(self.differences(name, baseline)).mean())) if both.any() else 0.0
        return apart / noise if noise else np.nan

    def at_rest(self, one: str, other: str) -> bool:
        """Whether two formulations have the same value in each of two seeds or more, and that value in all of them: a score
        at its floor or ceiling, which may hide a difference."""
        both = (self.states[[self.names.index(n) for n in (one, other)]] == "done").all(axis=(0, 1))
        own = self.values[self.names.index(other)][:, both]
        return both.sum() > 1 and bool((own == own[:, :1]).all()) and not self.differences(one, other).any()

    def lost(self, name: str) -> tuple[Lost, ...]:
        """The seeds in which a formulation has no value in some dataset though its training or evaluation ended."""
        states = self.states[self.names.index(name)]  # [D, S]
        gone = np.isin(states, LOST).any(axis=0)
        ended = int((gone | (states == "done").all(axis=0)).sum())
        worst = [next(k for k in LOST if k in column) for column in states.T[gone]]
        return tuple(Lost(name, kind, worst.count(kind), ended) for kind in LOST if kind in worst)

    def limit(self, margin: float | None) -> float | None:
        """A margin, in percent of metrics of log scale and else in the metric's unit, on the scale of `differences`.

        Raises `UserError` for one that is not positive, and for percent of a metric with values that are not positive.
        """
        if margin is None:
            return None
        if not 0 < margin < np.inf:
            raise UserError(f"the margin is {margin:g}, not a positive number")
        if self.metric.scale == "log" and not self.log:
            raise UserError(
                f"{self.metric.label} has values that are not positive: a margin in percent of it has no meaning"
            )
        return float(np.log1p(margin / 100)) if self.log else margin


def measured(results: Results, name: str) -> Measured:
    """A metric of a results table, without the rows of a confirmation.

    A value is the mean over all control settings in which the dataset has any value of the metric; a metric of trainings has
    one value. A seed in which no formulation has a value is not counted, nor is a dataset in which none has one. The
    scale is logarithmic where the metric declares so and all values are positive. Raises `UserError` as
    `analysis.runs.schema.comparable`, for a metric that the table does not declare, that has no better end or no
    values, and for
    a table of a confirmation only.
    """
    results = results.phase("rank", "race")
    rows = results.frame
    if rows.empty:
        raise UserError("the table has rows of a confirmation only: there is nothing to compare")
    schema.comparable(results)
    metric = _metric(results, name)
    f, names = _coded(rows["formulation"])
    d, _ = _coded(rows["dataset"])
    s, seeds = _coded(rows["seed"])
    values, ended = _means(rows, metric, f, d, s), _states(rows["status"], f, d, s)
    values[ended == "pending"] = np.nan
    states, there = ended.copy(), ~np.isnan(values)
    states[there] = "done"
    states[(ended == "done") & ~there] = "missing"
    states[np.broadcast_to(~there.any(axis=0), states.shape) & (ended == "done")] = "absent"
    kept = (states == "done").any(axis=(0, 2)) | ~(ended == "done").any(axis=(0, 2))
    if not kept.any() or not (there.any() or (states == "pending").any()):
        raise UserError(f"the table has no values of {name}: {nearest(name, comparable_metrics(results))}")
    log = metric.scale == "log" and bool((values[there] > 0).all())
    scaled = np.log(values) if log else values
    return Measured(metric, log, names, tuple(map(int, seeds)), scaled[:, kept], states[:, kept])


def comparable_metrics(results: Results) -> list[str]:
    """The metrics of a table by which formulations can be compared: those that the ranking shows and that have a better
    end and values."""
    done = results.frame[results.frame["status"] == "done"]
    return [
        m.name
        for m in results.metrics.values()
        if m.ranked and m.higher_is_better is not None and m.name in done and np.isfinite(done[m.name]).any()
    ]


def _metric(results: Results, name: str) -> Metric:
    metric = results.metrics.get(name)
    if metric is None or name not in results.frame:
        raise UserError(f"the table has no metric {name!r}; {nearest(name, comparable_metrics(results))}")
    if metric.higher_is_better is None:
        known = nearest(name, comparable_metrics(results))
        raise UserError(f"{metric.label} has no better end, so it compares nothing; {known}")
    return metric


def _coded(values: pd.Series[Any]) -> tuple[NDArray[np.int64], tuple[Any, ...]]:
    """Each value as its number among the sorted ones, and these."""
    names = sorted(values.unique())
    return np.asarray(pd.Categorical(values, categories=names).codes, dtype=np.int64), tuple(names)


def _means(rows: pd.DataFrame, metric: Metric, *place: NDArray[np.int64]) -> Array:
    """The metric's mean over settings by ``place``; NaN where one that the dataset has elsewhere is absent."""
    setting = rows.groupby(list(sampling_settings.CONTROL), observed=True).ngroup().to_numpy()
    column = rows[metric.name].to_numpy(dtype=np.float64)
    usable = (rows["status"] == "done").to_numpy() & np.isfinite(column)
    every = np.full((*(p.max() + 1 for p in place), setting.max() + 1), np.nan)
    every[(*place, setting)] = np.where(usable, column, np.nan)
    there = ~np.isnan(every)
    counted = there.sum(axis=-1)
    total = np.where(there, every, 0.0).sum(axis=-1)
    wanted = there.any(axis=(0, 2)).sum(axis=-1)[None, :, None] if metric.level == "setting" else 1
    whole = (counted > 0) & (counted >= wanted)
    return np.asarray(np.divide(total, counted, out=np.full(total.shape, np.nan), where=whole))


def _states(status: pd.Series[str], *place: NDArray[np.int64]) -> NDArray[Any]:
    """The state of each training: that of its row which is furthest from a value."""
    found = np.full(tuple(p.max() + 1 for p in place), "absent", dtype=object)
    for state in ("done", *reversed(LOST), "pending"):
        at = (status == state).to_numpy()
        found[tuple(p[at] for p in place)] = state
    return found
