"""Is it the base formulation or the timestep sampler? Main effects of a full cross of both.

    y_bps = m + a_b + c_p + (ac)_bp + seed_s + e_bps

A main effect averages over the other factor, so it is known better than one formulation: with P samplers the difference
of two bases has the variance ``2 v / (S P)``. The noise ``e`` is taken as independent from formulation to formulation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.ranking.blocks import Blocks
from analysis.stats.best import critical
from analysis.stats.two_way import Interval, complete, fit, t_quantile


@dataclass(frozen=True, eq=False)
class Factor:
    """One factor of a cross: its ``levels`` and their ``means`` ``[L]`` over the other factor and the seeds.

    ``variance`` is that of such a mean without the luck of the seeds, which all levels share; it has ``df`` degrees of
    freedom.
    """

    name: str
    levels: tuple[str, ...]
    means: NDArray[np.float64]
    variance: float
    df: float

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


@dataclass(frozen=True, eq=False)
class Effects:
    """Main effects of two factors, and their interaction.

    * ``variance`` of ``e`` with ``df``, ``(F - 1)(S - 1)`` for F crossed formulations on one dataset
    * ``shares``: of what formulations differ by beyond the noise, the parts of the first factor, of the second and of the
      interaction: ``max(SS - DF variance, 0)``, scaled to the sum 1; NaN if nothing is left
    * ``f`` and ``p`` of the test of no interaction. If there is one, a main effect is a mean over this table's levels of the
      other factor only.
    * ``counts``: how many seeds of each dataset it is over
    * ``left_out``: levels that the full cross does without, of the first factor and of the second
    """

    factors: tuple[Factor, Factor]
    counts: dict[str, int]
    variance: float
    df: float
    shares: tuple[float, float, float]
    f: float
    p: float
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
    count = y.shape[0] * y.shape[1]
    model = fit(y.reshape(-1, y.shape[2]), [""] * count, range(y.shape[2]), datasets, weights)
    variance, means, names, df = float(model.variance), y @ weights, table.index.names, float(model.df)
    noise = variance / means.size / model.replicates
    factors = [
        Factor(str(names[a]), levels[a], means.mean(axis=1 - a), noise * len(levels[a]), df) for a in (0, 1)
    ]
    tested = _interaction(means, variance, model.replicates, df)
    return Effects((factors[0], factors[1]), counts, variance, df, *tested, (first_out, second_out))


def _interaction(
    means: NDArray[np.float64], variance: float, seeds: float, df: float
) -> tuple[tuple[float, float, float], float, float]:
    """``shares``, ``f`` and ``p`` of `Effects`, from the means ``[B, P]`` over seeds."""
    from scipy.special import fdtrc

    rows = means.mean(axis=1, keepdims=True) - means.mean()
    columns = means.mean(axis=0, keepdims=True) - means.mean()
    parts = [
        np.broadcast_to(part, means.shape) for part in (rows, columns, means - means.mean() - rows - columns)
    ]
    squares = np.array([seeds * float((part**2).sum()) for part in parts])
    dfs = np.array([means.shape[0] - 1, means.shape[1] - 1, (means.shape[0] - 1) * (means.shape[1] - 1)])
    beyond = np.maximum(squares - dfs * variance, 0.0)
    first, second, both = beyond / beyond.sum() if beyond.any() else np.full(3, np.nan)
    f = float(squares[2] / dfs[2] / variance) if variance > 0 else math.nan
    return (float(first), float(second), float(both)), f, float(fdtrc(dfs[2], df, f))
