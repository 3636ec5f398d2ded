"""Formulations that are not separable from the best: Hsu's multiple comparison with the best (Hsu 1984, Ann. Statist.
12(3); Hsu 1996, Multiple Comparisons, chapter 4).

Formulation i is separated from the best if some j is better by more than ``d se_ij``. With ``d`` from the one-sided test of
Dunnett (1955) this separates the truly best one in at most 5 % of all runs, however many formulations there are.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from analysis.stats.two_way import CONFIDENCE, TwoWay


@functools.lru_cache(maxsize=4096)
def critical(k: int, df: float, confidence: float = CONFIDENCE) -> float:
    """One-sided Dunnett quantile ``d`` of ``k - 1`` comparisons with one of ``k`` means of equal weight (correlation 1/2),
    for a variance with ``df`` degrees of freedom, which may be infinite. The error is below 1e-4 for ``df >= 1``.

        P(all T_i <= d) = E_s E_z[Phi(z + sqrt(2) d s)^(k-1)] = confidence,    z ~ N(0, 1),  s^2 ~ chi^2_df / df

    Raises ``ValueError`` for ``k < 2`` or ``df < 1``.
    """
    from scipy.optimize import brentq
    from scipy.special import ndtr

    if k < 2 or not df >= 1:
        raise ValueError(f"k is {k} and df {df}; at least 2 means and 1 degree of freedom are needed")
    z, z_weights = _normal_nodes()
    s, s_weights = _chi_nodes(df)

    def excess(d: float) -> float:
        inside = ndtr(z[:, None] + math.sqrt(2) * d * s) ** (k - 1)
        return float(z_weights @ inside @ s_weights) - confidence

    high = 4.0
    while excess(high) < 0:
        high *= 2
    return float(brentq(excess, 0.0, high, xtol=1e-6))


@functools.cache
def _normal_nodes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights of the standard normal distribution."""
    nodes, weights = np.polynomial.legendre.leggauss(64)
    z = 7.0 * nodes
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return z, 7.0 * weights * density


def _chi_nodes(df: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights of ``sqrt(chi^2_df / df)``."""
    from scipy.stats import chi

    if math.isinf(df):
        return np.ones(1), np.ones(1)
    nodes, weights = np.polynomial.legendre.leggauss(64)
    # Over the square root of x: smooth at 0, where the density goes as x^(df - 1).
    low, high = math.sqrt(chi.ppf(1e-9, df)), math.sqrt(chi.isf(1e-9, df))
    root = low + (high - low) * (nodes + 1) / 2
    return root**2 / math.sqrt(df), weights * (high - low) * root * chi.pdf(root**2, df)


def not_separable(model: TwoWay, higher_is_better: bool, log: bool = False) -> NDArray[np.bool_]:
    """``[..., F]``: True for the formulations that are not separated from the best, the best in the sample among them.

    Of logarithms (``log``) it is the levels that are compared, with the noise relative to each: one seed that is a hundred
    times the others moves a logarithm of their mean much further than that noise has it.

    ``se_ij^2 = (v_i + v_j) / R``, and ``v_i`` is the largest of a formulation's own variance, the moderated and the pooled
    one. Of many formulations some look too quiet by chance, and
    moderation takes the noisy ones for quieter than they are; either
    would separate the best too often where the noise is unequal (``python -m analysis.calibrate``).
    """
    sign = 1.0 if higher_is_better else -1.0
    top = model.means.max(axis=-1, keepdims=True)  # for the scale, which drops out
    levels, unit = (np.exp(model.means - top),) * 2 if log else (model.means, np.ones_like(model.means))
    better_by = sign * (levels[..., None, :] - levels[..., :, None])
    if len(model.names) == 1:
        return np.ones(model.means.shape, dtype=bool)
    noise = unit**2 * np.maximum(np.maximum(model.moderated, model.own), model.variance[..., None])
    error = np.sqrt((noise[..., None, :] + noise[..., :, None]) / model.replicates)
    return np.asarray(~np.any(better_by > _quantile(model)[..., None, None] * error, axis=-1))


def gap(model: TwoWay) -> NDArray[np.float64]:
    """``[...]``: the smallest difference from the best that separates two formulations, ``d sqrt(2 v / R)`` with the pooled
    variance ``v``; NaN for one formulation."""
    if len(model.names) == 1:
        return model.variance
    return _quantile(model) * np.sqrt(2 * model.variance / model.replicates)


def _quantile(model: TwoWay) -> NDArray[np.float64]:
    df = np.floor(100 * model.moderated_df) / 100  # an estimate, and quantiles are kept
    return np.asarray(np.vectorize(critical, otypes=[float])(len(model.names), np.maximum(df, 1.0)))


def seeds_needed(
    difference: float, variance: float, k: int, most: int = 1000, datasets: float = 1.0
) -> int | None:
    """The fewest seeds S with ``d(k, (k-1)(S-1)D) sqrt(2 variance / S) <= difference``; None if more than ``most``.

    ``variance`` is the noise ``e`` of one formulation and seed, of every dataset, and D the number of ``datasets``, as
    far as they contribute to it. With S seeds a true difference of that size is separated in about half of all runs.
    """

    def enough(seeds: int) -> bool:
        df = max((k - 1) * (seeds - 1) * datasets, 1.0)
        return critical(k, df) * math.sqrt(2 * variance / seeds) <= difference

    if not (difference > 0 and enough(most)):
        return None
    low, high = 1, most  # too few, enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
