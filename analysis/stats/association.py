"""Coefficients of correlation, of many draws at once. Each is NaN where one side does not vary or is not finite."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def pearson(a: Array, b: Array) -> Array:
    """Pearson's r of the rows of ``a`` and ``b``, ``[..., n]`` each."""
    a, b = a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1)))


def spearman(a: Array, b: Array) -> Array:
    """Spearman's rho: Pearson's r of ranks; equal values share their mean rank."""
    from scipy.stats import rankdata

    return pearson(rankdata(a, axis=-1), rankdata(b, axis=-1))


def kendall(a: Array, b: Array) -> Array:
    """Kendall's tau-b: concordant less discordant pairs, over the geometric mean of the numbers of pairs that are not tied
    in ``a`` and in ``b`` (Kendall 1945, Biometrika 33(3))."""
    a, b = pair_signs(a), pair_signs(b)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((a * b).sum(-1) / np.sqrt((a != 0).sum(-1) * (b != 0).sum(-1)))


def pair_signs(values: Array) -> Array:
    """Which of each pair is larger, ``[..., n (n - 1) / 2]``: 1 the first, -1 the second, 0 neither."""
    i, j = np.triu_indices(values.shape[-1], 1)
    return np.sign(values[..., i] - values[..., j])
