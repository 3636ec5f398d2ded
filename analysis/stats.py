"""How sure a mean over seeds is: the two-way model of a complete table of formulations and seeds.

    y_fs = m + a_f + b_s + e_fs

A seed is a block: all formulations of a seed share the initialization, the order of the data and the evaluation's noise,
and with them the luck ``b_s``. Differences of formulations are paired, so that this luck drops out of them. The
response ``y`` is on a scale on which the noise is about the same everywhere: logarithms of losses and of FID.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .moderation import moderate

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCE = 0.95
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

    * ``means`` ``[..., F]`` over the seeds; ``residuals`` ``[..., F, S]``
    * ``variance`` ``[...]`` of ``e``, pooled over formulations, with ``df = (F - 1)(S - 1)``; NaN if ``F = 1``
    * ``shared`` ``[...]``: the variance over seeds of the mean over formulations
    * ``moderated`` ``[..., F]``: each formulation's variance of ``e`` (`analysis.moderation`), with ``moderated_df``
      ``[...]`` degrees of freedom; ``prior_df`` ``[...]`` is infinite where all formulations are equally noisy
    """

    names: tuple[str, ...]
    seeds: tuple[int, ...]
    means: NDArray[np.float64]
    residuals: NDArray[np.float64]
    variance: NDArray[np.float64]
    df: int
    shared: NDArray[np.float64]
    moderated: NDArray[np.float64]
    prior_df: NDArray[np.float64]
    moderated_df: NDArray[np.float64]

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

    def levels(self) -> Interval:
        """The formulations' expected values over all seeds, ``[..., F]``.

        A mean's variance is ``(shared + own) / S`` with ``own = moderated_f - variance / F``. The parts have S - 1 and
        ``moderated_df`` degrees of freedom; the quantile is the mean of both t quantiles, weighted by the parts (Cochran &
        Cox 1957, section 4.14), since Satterthwaite's is too small if all depends on a ``shared`` of two degrees.
        """
        shared, own = self.shared[..., None], np.zeros_like(self.means)
        wide = narrow = t_quantile(len(self.seeds) - 1)
        if len(self.names) > 1:
            own = np.maximum(self.moderated - self.variance[..., None] / len(self.names), 0.0)
            narrow = t_quantile(self.moderated_df)[..., None]
        total = shared + own
        weighted = np.divide(shared * wide + own * narrow, total, out=np.zeros_like(total), where=total > 0)
        return Interval.around(self.means, weighted * np.sqrt(total / len(self.seeds)))

    def differences(self, other: int) -> Interval:
        """Each formulation minus formulation number ``other``, ``[..., F]``: paired t intervals, each for itself, with the
        variance ``(moderated_f + moderated_other) / S``."""
        variance = (self.moderated + self.moderated[..., [other]]) / len(self.seeds)
        variance[..., other] = 0.0
        return Interval.around(
            self.means - self.means[..., [other]],
            t_quantile(self.moderated_df)[..., None] * np.sqrt(variance),
        )


def fit(values: Any, names: Sequence[str], seeds: Sequence[int]) -> TwoWay:
    """Fit the model to ``values`` ``[..., F, S]``, a complete table or several. Raises ``ValueError`` for fewer than two
    seeds, for shapes that do not fit and for values that are not finite.

    The residuals of formulation f are ``(F - 1) / F`` of its noise in the mean square; that is undone before moderation.
    """
    y = np.asarray(values, dtype=np.float64)
    count, blocks = len(names), len(seeds)
    if y.shape[-2:] != (count, blocks) or count < 1 or blocks < 2:
        raise ValueError(
            f"values must be [..., {count}, {blocks}] with two seeds or more, not {list(y.shape)}"
        )
    if not np.isfinite(y).all():
        raise ValueError("the table must be complete: a value is not finite")
    means, by_seed = y.mean(axis=-1), y.mean(axis=-2)
    residuals = y - means[..., None] - (by_seed - by_seed.mean(axis=-1, keepdims=True))[..., None, :]
    shared, rounding = by_seed.var(axis=-1, ddof=1), ROUNDING * np.abs(y).max(axis=(-2, -1))
    residuals = np.where(np.abs(residuals) > rounding[..., None, None], residuals, 0.0)
    squares, df = (residuals**2).sum(axis=-1), (count - 1) * (blocks - 1)
    unknown = np.full(y.shape[:-2], np.nan)
    moderated = moderate(squares * count / df, blocks - 1) if df else None
    return TwoWay(
        names=tuple(names),
        seeds=tuple(seeds),
        means=means,
        residuals=residuals,
        variance=squares.sum(axis=-1) / df if df else unknown,
        df=df,
        shared=np.where(shared > rounding**2, shared, 0.0),
        moderated=moderated.variances if moderated else np.full_like(means, np.nan),
        prior_df=moderated.prior_df if moderated else unknown,
        moderated_df=np.minimum(moderated.prior_df + blocks - 1, df) if moderated else unknown,
    )


def balanced(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str], list[int]]:
    """The complete part of ``table`` (formulations down, seeds across), and the formulations and seeds that it leaves out.

    As long as a value is NaN, the formulation or seed with the largest share of NaN goes (`complete`): one failed cell
    costs its formulation, one unfinished seed costs that seed.
    """
    rows, columns = complete(np.isnan(table.to_numpy(dtype=np.float64)))
    names: pd.Index[Any] = table.index
    seeds: pd.Index[Any] = table.columns
    return (
        table.iloc[rows, columns],
        [str(n) for n in names.delete(rows)],
        [int(s) for s in seeds.delete(columns)],
    )


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


def t_quantile(df: Any) -> NDArray[np.float64]:
    """Quantile of Student's t that leaves half of 1 - `CONFIDENCE` above it."""
    from scipy.special import stdtrit

    return np.asarray(stdtrit(df, (1 + CONFIDENCE) / 2), dtype=np.float64)
