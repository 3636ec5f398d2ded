"""Is it the base formulation or the timestep sampler, or the network? Main effects of a full cross of both.

    y_bps = m + a_b + c_p + (ac)_bp + seed_s + (a seed)_bs + (c seed)_ps + e_bps

A main effect averages over the other factor. What a seed does to one level of a factor, such as the initial weights that
all formulations of a network share, is common to the whole level: the error of a main effect is how much the means of its
levels differ from seed to seed, and that of the interaction what then remains (the analysis of variance with repeated
measures, for example Winer 1971, Statistical Principles in Experimental Design, chapter 7).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.ranking.blocks import Blocks
from analysis.stats.best import critical
from analysis.stats.two_way import CONFIDENCE, ROUNDING, Interval, complete, fit, t_quantile


@dataclass(frozen=True, eq=False)
class Factor:
    """One factor of a cross: its ``levels`` and their ``means`` ``[L]`` over the other factor and the seeds.

    ``variance`` is that of such a mean without the luck of the seeds, which all levels share; it has ``df`` degrees of
    freedom. ``within`` ``[L, M]`` are the means at each level of the other factor, with ``within_variance`` and
    ``within_df`` (Satterthwaite).
    """

    name: str
    levels: tuple[str, ...]
    means: NDArray[np.float64]
    variance: float
    df: float
    within: NDArray[np.float64]
    within_variance: float
    within_df: float

    def effects(self) -> Interval:
        """Deviations ``[L]`` from the mean over the levels: variance ``(1 - 1/L) variance``, each interval for itself."""
        margin = t_quantile(self.df) * math.sqrt(self.variance * (1 - 1 / len(self.levels)))
        return Interval.around(self.means - self.means.mean(), margin)

    def differences(self, other: int) -> Interval:
        """Each level minus level number ``other``, ``[L]``: variance ``2 variance``, each interval for itself."""
        error = np.full(len(self.levels), math.sqrt(2 * self.variance))
        error[other] = 0.0
        return Interval.around(self.means - self.means[other], t_quantile(self.df) * error)

    def gap(self) -> float:
        """The smallest difference from the best level that separates two levels (`analysis.stats.best`)."""
        return critical(len(self.levels), self.df) * math.sqrt(2 * self.variance)

    def not_separable(self, higher_is_better: bool) -> NDArray[np.bool_]:
        """``[L]``: True for the levels that are not separated from the best (`analysis.stats.best`)."""
        best = self.means.max() if higher_is_better else self.means.min()
        return np.asarray(np.abs(best - self.means) <= self.gap())

    def within_gap(self) -> float:
        """The smallest difference from the best that separates two levels at one level of the other factor, at all of these
        together (Bonferroni)."""
        levels, others = self.within.shape
        d = critical(levels, max(1.0, self.within_df), 1 - (1 - CONFIDENCE) / others)
        return d * math.sqrt(2 * self.within_variance)

    def not_separable_within(self, higher_is_better: bool) -> NDArray[np.bool_]:
        """``[L, M]``: the same at each level of the other factor, at all of them together."""
        best = self.within.max(axis=0) if higher_is_better else self.within.min(axis=0)
        return np.asarray(np.abs(best - self.within) <= self.within_gap())


@dataclass(frozen=True, eq=False)
class Interaction:
    """What the effect of one factor differs by from level to level of the other.

    * ``variance`` of ``e`` with ``df``, ``(B - 1)(P - 1)(S - 1)`` on one dataset
    * ``f``, with ``free`` and ``df`` degrees of freedom, and ``p`` of the test of no interaction. If there is one, a main
      effect is a mean over this table's levels of the other factor only.
    * ``unit`` times the square root of F's noncentrality is the root mean square of ``(ac)``
    """

    variance: float
    df: float
    free: int
    f: float
    p: float
    unit: float

    @property
    def size(self) -> float:
        """The root mean square of ``(ac)``, without what noise adds; 0 if that is all."""
        return self.unit * math.sqrt(max(0.0, self.free * (self.f - 1)))

    def ends(self) -> tuple[float, float]:
        """Those of the 95 % interval of the root mean square, by the noncentral F distribution (Steiger 2004, Psychol.
        Methods 9(2))."""
        tail = (1 - CONFIDENCE) / 2
        low, high = (_noncentrality(self.f, self.free, self.df, p) for p in (1 - tail, tail))
        return self.unit * math.sqrt(low), self.unit * math.sqrt(high)


@dataclass(frozen=True, eq=False)
class Effects:
    """Main effects of two factors, and their interaction.

    * ``shares``: of what formulations differ by beyond the noise, the parts of the first factor, of the second and of the
      interaction: ``max(SS - DF error, 0)``, scaled to the sum 1; NaN if nothing is left
    * ``counts``: how many seeds of each dataset it is over
    * ``left_out``: levels that the full cross does without, of the first factor and of the second
    """

    factors: tuple[Factor, Factor]
    interaction: Interaction
    shares: tuple[float, float, float]
    counts: dict[str, int]
    left_out: tuple[tuple[str, ...], tuple[str, ...]]


def effects(blocks: Blocks) -> Effects | None:
    """Main effects in the table of ``blocks``, whose rows have a two-level index such as (base, sampler).

    Takes the full part of the cross that `analysis.stats.two_way.complete` finds; combinations that the table lacks or that
    are NaN are absent. None if that has fewer than two levels of a factor or fewer than two seeds of a dataset. Raises
    ``ValueError`` for two rows of one combination.
    """
    table = blocks.table
    if not table.index.is_unique:
        raise ValueError(f"the rows {table.index[table.index.duplicated()][0]} are there twice")
    axes = [list(table.index.unique(0)), list(table.index.unique(1)), list(table.columns)]
    cube = np.full([len(axis) for axis in axes], np.nan)
    for (base, sampler), row in zip(table.index, table.to_numpy(dtype=np.float64), strict=True):
        cube[axes[0].index(base), axes[1].index(sampler)] = row
    kept = complete(np.isnan(cube))
    if min(map(len, kept)) < 2:
        return None
    datasets = [blocks.datasets[i] for i in kept[2]]
    counts = {name: datasets.count(name) for name in datasets}
    if min(counts.values()) < 2:
        return None
    y, weights = cube[np.ix_(*kept)], blocks.weights[kept[2]] / blocks.weights[kept[2]].sum()
    levels = [tuple(axis[i] for i in part) for axis, part in zip(axes, kept, strict=True)]
    first_out, second_out, _ = (
        tuple(n for n in axis if n not in part) for axis, part in zip(axes, levels, strict=True)
    )

    def mean_square(table: NDArray[np.float64]) -> tuple[float, float]:
        """The variance of a table ``[R, G]`` without the luck of blocks, if it has R - 1 free rows, and its df."""
        found = fit(table, [""] * len(table), range(table.shape[1]), datasets, weights)
        return float(found.variance), float(found.df)

    replicates = len(datasets) / len(counts)
    both = _interaction(y, weights, replicates, mean_square)
    factors = []
    for a in (0, 1):
        variance, df = mean_square(y.mean(axis=1 - a))
        within = np.moveaxis(y @ weights, a, 0)
        own, own_df = _within(variance, df, both, within.shape[1])
        about = str(table.index.names[a]), levels[a], within.mean(axis=1), variance / replicates, df
        factors.append(Factor(*about, within, own / replicates, own_df))
    shares = _shares((factors[0], factors[1]), both)
    return Effects((factors[0], factors[1]), both, shares, counts, (first_out, second_out))


def _interaction(
    y: NDArray[np.float64],
    weights: NDArray[np.float64],
    replicates: float,
    mean_square: Callable[[NDArray[np.float64]], tuple[float, float]],
) -> Interaction:
    """Of a table ``[B, P, G]``."""
    from scipy.special import fdtrc

    first, second = y.shape[:2]
    alone = y - y.mean(axis=0) - y.mean(axis=1, keepdims=True) + y.mean(axis=(0, 1))
    alone = np.where(np.abs(alone) > ROUNDING * np.abs(y).max(), alone, 0.0)
    rows, free = first * second, (first - 1) * (second - 1)
    variance, df = mean_square(alone.reshape(rows, -1))
    variance, df = variance * (rows - 1) / free, df * free / (rows - 1)
    if not variance > 0:
        return Interaction(variance, df, free, *(math.nan,) * 3)
    f = replicates * float(((alone @ weights) ** 2).sum()) / free / variance
    return Interaction(
        variance, df, free, f, float(fdtrc(free, df, f)), math.sqrt(variance / replicates / rows)
    )


def _noncentrality(f: float, dfn: float, dfd: float, p: float) -> float:
    """The noncentrality at which an F is below ``f`` with probability ``p``; 0 if it is less likely even without any."""
    from scipy.optimize import brentq
    from scipy.special import fdtr, ncfdtr

    if fdtr(dfn, dfd, f) <= p:
        return 0.0
    high = 1.0
    while ncfdtr(dfn, dfd, high, f) > p:
        high *= 2
    return float(brentq(lambda nc: ncfdtr(dfn, dfd, nc, f) - p, 0.0, high))


def _within(variance: float, df: float, both: Interaction, others: int) -> tuple[float, float]:
    """The variance of one value within a level of the other factor, ``variance`` of a mean over its M levels and
    ``(1 - 1/M)`` of the interaction's, and its degrees of freedom."""
    rest = (1 - 1 / others) * both.variance
    total = variance + rest
    return total, total**2 / (variance**2 / df + rest**2 / both.df) if total > 0 else df


def _shares(factors: tuple[Factor, Factor], both: Interaction) -> tuple[float, float, float]:
    """``shares`` of `Effects`: in units of one value's variance over its replicates."""
    beyond = []
    for factor in factors:
        levels, others = factor.within.shape
        apart = float(((factor.means - factor.means.mean()) ** 2).sum())
        beyond.append(others * max(0.0, apart - (levels - 1) * factor.variance))
    rest = both.size**2 * factors[0].within.size
    parts = np.array([*beyond, 0.0 if math.isnan(rest) else rest])
    first, second, third = parts / parts.sum() if parts.any() else np.full(3, np.nan)
    return float(first), float(second), float(third)
