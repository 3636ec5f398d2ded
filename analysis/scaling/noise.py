"""What another set of seeds would have given: draws of the runs' means from the two-way model of runs and seeds.

With three seeds, resampling the seeds covers far less than its nominal level (about 76 % for 95). Draws come from the
fitted model instead (`analysis.stats.two_way.TwoWay`): a luck that all runs of a seed share, and a noise of each training.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.stats import two_way as stats
from analysis.stats.association import Array

DRAWS = 2000


@dataclass(frozen=True, eq=False)
class Means:
    """Means over seeds of one response, on the scale of the model (``log``: in logarithms): ``values`` ``[R]``, corrected
    for the seeds that a run lacks; ``low`` and ``high`` of their 95 % intervals, NaN for a run that lacks a seed; ``draws``
    ``[B, R]``. The last three are None where no two runs share two seeds. ``seeds`` ``[R]``: how many a mean is over."""

    values: Array
    seeds: NDArray[np.int64]
    log: bool = False
    low: Array | None = None
    high: Array | None = None
    draws: Array | None = None


def means(
    values: Mapping[str, Array], logs: Container[str] = (), draws: int = DRAWS, seed: int = 0
) -> dict[str, Means]:
    """The means of responses ``[R, S]`` (NaN where a training is not there) and their uncertainty; logarithms of ``logs``,
    whose noise grows with their level.

    Draw b of response k and run r is ``mean + g + d``: ``g`` is the deviation of the mean over runs, Student's t with S - 1
    degrees of freedom; ``d`` that of the run from it, with its moderated variance and degrees of freedom: laws go
    through many runs, and are covered without the wider intervals that one noisy run among them needs. Responses are
    correlated as their seeds are in ``g``, and as their residuals are in ``d``.
    """
    stack = np.stack([np.log(v) if name in logs else v for name, v in values.items()])
    there = np.isfinite(stack).all(axis=0)
    rows, columns = stats.complete(~there)
    if len(rows) < 2 or len(columns) < 2:
        found = np.where(there, stack, 0.0).sum(axis=-1) / there.sum(axis=-1)
        return {name: Means(found[k], there.sum(axis=-1), name in logs) for k, name in enumerate(values)}
    model = stats.fit(stack[:, rows][:, :, columns], [str(r) for r in rows], columns)
    luck = np.zeros((len(stack), there.shape[1]))
    whole = stack[:, rows][:, :, columns]
    luck[:, columns] = whole.mean(axis=1) - whole.mean(axis=(1, 2))[:, None]
    used = there & np.isin(np.arange(there.shape[1]), columns)
    used = np.where(used.any(axis=1, keepdims=True), used, there)
    count = used.sum(axis=-1)
    found = np.where(used, stack - luck[:, None], 0.0).sum(axis=-1) / count
    variance = np.repeat(model.variance[:, None], len(there), axis=1)
    variance[:, rows] = model.moderated
    levels, low, high = model.levels(), np.full_like(found, np.nan), np.full_like(found, np.nan)
    low[:, rows], high[:, rows] = levels.low, levels.high
    drawn = found + _draw(model, luck[:, columns], variance / count, rows, np.random.default_rng(seed), draws)
    return {
        name: Means(found[k], count, name in logs, low[k], high[k], drawn[:, k])
        for k, name in enumerate(values)
    }


def interval(draws: Array | None) -> tuple[float, float]:
    """2.5 and 97.5 percentiles of draws ``[B]``; NaN without draws."""
    if draws is None or np.isnan(draws).all():
        return np.nan, np.nan
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return float(low), float(high)


def _draw(
    model: stats.TwoWay, luck: Array, variance: Array, rows: list[int], rng: np.random.Generator, draws: int
) -> Array:
    """Deviations ``[B, K, R]`` for runs whose means have the ``variance`` ``[K, R]``; ``rows`` of them are in the model;
    ``luck`` ``[K, S]`` is that of its seeds."""
    responses, runs = variance.shape
    seeds = len(model.seeds)
    own = rng.normal(size=(draws, runs, responses)) @ _root(model.residuals.reshape(responses, -1))
    own = np.swapaxes(own, 1, 2) * np.sqrt(variance) / _chi(rng, draws, model.moderated_df)[..., None]
    own -= own[..., rows].mean(axis=-1, keepdims=True)
    common = rng.normal(size=(draws, responses)) @ _root(luck)
    common *= np.sqrt(model.shared / seeds) / _chi(rng, draws, np.full(responses, seeds - 1.0))
    return np.asarray(own + common[..., None])


def _root(deviations: Array) -> Array:
    """A square root ``[K, K]`` of the correlation matrix of ``deviations`` ``[K, n]``: ``normal @ root`` has it."""
    scale = np.sqrt((deviations**2).sum(axis=-1, keepdims=True))
    unit = np.divide(deviations, scale, out=np.zeros_like(deviations), where=scale > 0)
    values, vectors = np.linalg.eigh(unit @ unit.T)
    return np.asarray((vectors * np.sqrt(values.clip(0))) @ vectors.T)


def _chi(rng: np.random.Generator, draws: int, df: Array) -> Array:
    """``sqrt(chi^2_df / df)`` ``[B, K]`` for ``df`` ``[K]``, by which a normal number is divided to be Student's t. All K
    rise and fall together, so that responses that agree are not torn apart."""
    from scipy.special import gammaincinv

    return np.asarray(np.sqrt(2 * gammaincinv(df / 2, rng.uniform(size=(draws, 1))) / df))
