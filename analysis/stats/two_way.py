"""How sure a mean over seeds is: the two-way model of a complete table of formulations and blocks.

    y_fg = m_d + a_fd + b_g + e_fg,    g a seed of dataset d

A seed of a dataset is a block: all its formulations share the initialization, the order of the data and the evaluation's
noise, and with them the luck ``b_g``. Differences of formulations are paired, so that this luck drops out of them. The
response ``y`` is on a scale on which the noise is about the same everywhere: relative for losses and FID.

With weights ``w_g`` of the blocks, equal within a dataset of ``S_d`` seeds, the mean of a formulation has the variance

    sum_d w_d^2 S_d (v_fd + var(b_d))

where ``v_fd`` is estimated from what seeds of dataset d differ by; the sum has Satterthwaite's degrees of freedom. All
variances below are this sum times R, the mean number of seeds of a dataset: the variance of one seed of every dataset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.stats.variance_shrinkage import moderate

CONFIDENCE = 0.95
LEAST, WIDEST = 0.93, 3.6
"""Chosen by ``python -m analysis.calibrate``: the worst formulation is covered in 92 % at three seeds."""
ROUNDING = 64 * float(np.finfo(np.float64).eps)
"""What is smaller, as a share of a table's largest value, is no noise: means of equal values differ by as much."""


@dataclass(frozen=True, eq=False)
class Interval:
    """Estimates and the ends of their 95 % intervals, arrays of one shape; indexing takes a part of all three."""

    estimate: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def around(cls, estimate: NDArray[np.float64], margin: NDArray[np.float64]) -> Interval:
        """``estimate`` plus and minus ``margin``."""
        return cls(estimate, estimate - margin, estimate + margin)

    def __getitem__(self, index: Any) -> Interval:
        return Interval(self.estimate[index], self.low[index], self.high[index])


@dataclass(frozen=True, eq=False)
class TwoWay:
    """The fitted model; leading axes, ``...`` below, are tables fitted at once.

    * ``means`` ``[..., F]`` over the blocks; ``residuals`` ``[..., F, G]``
    * ``replicates``: R, so that a variance divided by it is that of a mean; the number of seeds if there is one dataset
    * ``variance`` ``[...]`` of ``e``, pooled over formulations, with ``df`` ``[...]`` degrees of freedom,
      ``(F - 1)(S - 1)`` for one dataset; NaN and 0 if ``F = 1``
    * ``shared`` ``[...]``: the variance over blocks of the mean over formulations, with ``shared_df``
    * ``own`` ``[..., F]``: each formulation's variance of ``e`` by itself, with ``own_df`` ``[...]``
    * ``moderated`` ``[..., F]``: the same drawn towards that of the others (`analysis.stats.variance_shrinkage`), with
    ``moderated_df``
      ``[...]`` degrees of freedom; ``prior_df`` ``[...]`` is infinite where all formulations are equally noisy
    """

    names: tuple[str, ...]
    seeds: tuple[int, ...]
    replicates: float
    means: NDArray[np.float64]
    residuals: NDArray[np.float64]
    variance: NDArray[np.float64]
    df: NDArray[np.float64]
    shared: NDArray[np.float64]
    shared_df: NDArray[np.float64]
    own: NDArray[np.float64]
    own_df: NDArray[np.float64]
    moderated: NDArray[np.float64]
    prior_df: NDArray[np.float64]
    moderated_df: NDArray[np.float64]

    @property
    def bounded(self) -> NDArray[np.float64]:
        """``[..., F]``: the variance that intervals are made of. Moderation helps all but the noisiest formulation, whose
        variance is drawn down; so no interval is narrower than the t interval of `LEAST` by a formulation's ``own``
        variance, or than `WIDEST` standard errors where that has one degree of freedom."""
        least = np.minimum(t_quantile(self.own_df, LEAST), WIDEST) / t_quantile(self.moderated_df)
        return np.maximum(self.moderated, self.own * least[..., None] ** 2)

    @property
    def seed_variance(self) -> NDArray[np.float64]:
        """Estimated variance of ``b``, ``shared - variance / F``; negative if seeds differ less than chance has them."""
        return self.shared - self.variance / len(self.names)

    @property
    def correlation(self) -> NDArray[np.float64]:
        """Correlation of two formulations over seeds, ``var(b) / (var(b) + var(e))``, by the estimates of both (ANOVA);
        at least ``-1 / (F - 1)``, and NaN if nothing varies."""
        total = self.seed_variance + self.variance
        return np.divide(self.seed_variance, total, out=np.full_like(total, np.nan), where=total > 0)

    def correlation_interval(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """``[...]`` each: the ends of the 95 % interval of `correlation`, NaN where ``variance`` is.

        ``F shared / variance`` over ``1 + F theta``, with ``theta = var(b) / var(e)``, has an F distribution with
        ``shared_df`` and ``df`` degrees of freedom (Shrout & Fleiss 1979,
        Psychol. Bull. 86(2)): exact for one dataset and equal noise.
        """
        from scipy.special import fdtri

        count, tail = len(self.names), (1 - CONFIDENCE) / 2
        noisy = self.variance > 0
        ratio = np.divide(
            count * self.shared, self.variance, out=np.full_like(self.variance, np.nan), where=noisy
        )
        df = np.where(noisy, self.df, 1.0)
        thetas = [(ratio / fdtri(self.shared_df, df, p) - 1) / count for p in (1 - tail, tail)]
        low, high = (theta / (1 + theta) for theta in thetas)
        return np.asarray(low), np.asarray(high)

    def levels(self) -> Interval:
        """The formulations' expected values over all seeds, ``[..., F]``.

        A mean's variance is ``(shared + own) / R`` with ``own = bounded_f - variance / F``. The parts have ``shared_df`` and
        ``moderated_df`` degrees of freedom; the quantile is the mean of both t quantiles, weighted by the parts (Cochran &
        Cox 1957, section 4.14), since Satterthwaite's is too small if all depends on a ``shared`` of two degrees.
        """
        shared, own = self.shared[..., None], np.zeros_like(self.means)
        wide = narrow = t_quantile(self.shared_df)[..., None]
        if len(self.names) > 1:
            own = np.maximum(self.bounded - self.variance[..., None] / len(self.names), 0.0)
            narrow = t_quantile(self.moderated_df)[..., None]
        total = shared + own
        weighted = np.divide(shared * wide + own * narrow, total, out=np.zeros_like(total), where=total > 0)
        return Interval.around(self.means, weighted * np.sqrt(total / self.replicates))

    def differences(self, other: int) -> Interval:
        """Each formulation minus formulation number ``other``, ``[..., F]``: paired t intervals, each for itself, with the
        variance ``(bounded_f + bounded_other) / R``."""
        variance = (self.bounded + self.bounded[..., [other]]) / self.replicates
        variance[..., other] = 0.0
        return Interval.around(
            self.means - self.means[..., [other]],
            t_quantile(self.moderated_df)[..., None] * np.sqrt(variance),
        )


def fit(
    values: Any,
    names: Sequence[str],
    seeds: Sequence[int],
    datasets: Sequence[str] | None = None,
    weights: Any = None,
) -> TwoWay:
    """Fit the model to ``values`` ``[..., F, G]``, a complete table or several, whose columns are ``seeds`` of ``datasets``
    (by default of one) with ``weights`` of the sum 1 (by default equal).

    Raises ``ValueError`` for a dataset with fewer than two seeds or unequal weights, for shapes that do not fit and for
    values that are not finite.

    The residuals of formulation f are ``(F - 1) / F`` of its noise in the mean square; that is undone
    before moderation.
    """
    y = np.asarray(values, dtype=np.float64)
    count, blocks = len(names), len(seeds)
    if y.shape[-2:] != (count, blocks) or count < 1 or blocks < 2:
        raise ValueError(
            f"values must be [..., {count}, {blocks}] with two seeds or more, not {list(y.shape)}"
        )
    if not np.isfinite(y).all():
        raise ValueError("the table must be complete: a value is not finite")
    share = np.full(blocks, 1 / blocks) if weights is None else np.asarray(weights, dtype=np.float64)
    strata = _strata(datasets if datasets is not None else [""] * blocks, share)
    by_seed, rounding = y.mean(axis=-2), ROUNDING * np.abs(y).max(axis=(-2, -1))
    residuals = _free(y, strata) - _free(by_seed, strata)[..., None, :]
    residuals = np.where(np.abs(residuals) > rounding[..., None, None], residuals, 0.0)
    shared, shared_df = _summed(_free(by_seed, strata)[..., None, :], strata, share)
    unknown = np.full(y.shape[:-2], np.nan)
    own, own_df = np.full(y.shape[:-1], np.nan), unknown
    if count > 1:
        own, _ = _summed(residuals, strata, share)
        variance, own_df = _summed(residuals, strata, share, pooled=True)
        own, variance = own * count / (count - 1), variance * count / (count - 1)
        moderated = moderate(own, own_df)
    return TwoWay(
        names=tuple(names),
        seeds=tuple(seeds),
        replicates=blocks / len(strata),
        means=y @ share,
        residuals=residuals,
        variance=variance if count > 1 else unknown,
        df=(count - 1) * own_df if count > 1 else np.zeros_like(unknown),
        shared=np.where(shared[..., 0] > rounding**2, shared[..., 0], 0.0),
        shared_df=shared_df[..., 0],
        own=own,
        own_df=own_df,
        moderated=moderated.variances if count > 1 else np.full(y.shape[:-1], np.nan),
        prior_df=moderated.prior_df if count > 1 else unknown,
        moderated_df=np.minimum(moderated.prior_df + own_df, (count - 1) * own_df) if count > 1 else unknown,
    )


def _strata(datasets: Sequence[str], weights: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """The columns of each dataset."""
    found = [np.flatnonzero([d == name for d in datasets]) for name in dict.fromkeys(datasets)]
    for columns in found:
        if len(columns) < 2:
            raise ValueError(f"{datasets[columns[0]]} has one seed; two seeds or more are needed")
        if not np.allclose(weights[columns], weights[columns[0]]):
            raise ValueError(f"the seeds of {datasets[columns[0]]} have unequal weights")
    return found


def _free(values: NDArray[np.float64], strata: list[NDArray[np.int64]]) -> NDArray[np.float64]:
    """``values`` ``[..., G]`` without the mean of their dataset."""
    found = np.empty_like(values)
    for columns in strata:
        found[..., columns] = values[..., columns] - values[..., columns].mean(axis=-1, keepdims=True)
    return found


def _summed(
    residuals: NDArray[np.float64],
    strata: list[NDArray[np.int64]],
    weights: NDArray[np.float64],
    pooled: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``R sum_d w_d^2 S_d s_fd^2`` and its degrees of freedom by Satterthwaite (1946), ``[..., F]`` each; ``pooled`` over
    formulations, ``[...]`` each."""
    replicates = residuals.shape[-1] / len(strata)
    parts, freedom = [], []
    for columns in strata:
        seeds = len(columns)
        scale = replicates * weights[columns[0]] ** 2 * seeds / (seeds - 1)
        parts.append(scale * (residuals[..., columns] ** 2).sum(axis=-1))
        freedom.append(seeds - 1.0)
    terms, df = np.stack(parts), np.array(freedom)
    if pooled:
        terms = terms.mean(axis=-1)
    total = terms.sum(axis=0)
    squares = np.tensordot(1 / df, terms**2, axes=1)
    return total, np.divide(total**2, squares, out=np.full_like(total, df.sum()), where=squares > 0)


def complete(absent: NDArray[np.bool_]) -> list[list[int]]:
    """For each axis of ``absent``, the indices of a part in which nothing is absent.

    Greedy: the index with the largest share of absent entries goes first; of equal shares the one on the earlier axis, and
    there the last. All that is left may be empty.
    """
    kept = [list(range(n)) for n in absent.shape]
    while (part := absent[np.ix_(*kept)]).any():
        shares = [np.moveaxis(part, a, 0).reshape(part.shape[a], -1).mean(axis=1) for a in range(part.ndim)]
        axis = max(range(part.ndim), key=lambda a: float(shares[a].max()))
        del kept[axis][int(np.flatnonzero(shares[axis] == shares[axis].max())[-1])]
    return kept


def t_quantile(df: Any, confidence: float = CONFIDENCE) -> NDArray[np.float64]:
    """Quantile of Student's t that leaves half of ``1 - confidence`` above it."""
    from scipy.special import stdtrit

    return np.asarray(stdtrit(df, (1 + confidence) / 2), dtype=np.float64)
