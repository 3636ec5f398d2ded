"""Influence values of the Frechet distance: how much each image moves it, so that one run's distance has an interval.

The influence of image i is the jackknife's, ``psi_i = (n - 1) (mean_j d_(j) - d_(i))`` with ``d_(i)`` the distance of the
other images. ``var(psi) / n`` estimates the variance of the distance over draws of n images (Efron & Stein 1981), and the
variance of the differences of two models' values for the same captions that of the difference of their distances. The
reference is taken as given.

No distance is measured again. With features ``x ~ (m, S)``, a reference ``(m2, R)``, ``c = x_i - m``, ``a = (n-1) / (n-2)``
and ``e = n / (n-1)^2``, the other images have the mean ``m - c / (n-1)`` and the covariance ``a (S - e c c^T)``. With
``R^1/2 S R^1/2 = V diag(s^2) V^T`` and ``z = V^T R^1/2 c``, the formula of `bench.metrics.frechet` becomes, up to what does
not depend on i,

    d_(i) = |m - m2 - c / (n-1)|^2 - a e |c|^2 - 2 a^1/2 tr (diag(s^2) - e z z^T)^1/2
    tr (diag(s^2) - e z z^T)^1/2 = sum_j s_j - e/2 sum_j z_j^2 / s_j - e^2/4 sum_jk z_j^2 z_k^2 / (s_j s_k (s_j + s_k)) - ...

a series in ``e`` cut after the second order. The first alone is the influence function (Hampel 1974, JASA
69), whose quadratic form is that of the identity minus the optimal transport map ``S^-1/2 (S^1/2 R S^1/2)^1/2 S^-1/2``. Its
standard deviations are too small by the order of ``D / (4 n)``, the share that the second order adds.

For images that are distributed as the reference is, the first order vanishes; there standard deviations are too large, as
the jackknife's are. The tests compare all this with draws.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.metrics.features import Rows, as_rows
from bench.metrics.frechet import Moments, positive

LEAST = 2
"""Images for each dimension, at least; with fewer, the second order is not enough."""


def influence(features: Any, reference: Moments) -> Rows | None:
    """``psi`` ``[n]`` of image features ``[n, D]``, float64, in the distance's unit; their mean is 0.

    None if ``n < LEAST D`` or a feature is not finite. Raises ``ValueError`` for differing dimensions.
    """
    rows = as_rows(features)
    n, dim = rows.shape
    if reference.mean.shape != (dim,):
        raise ValueError(f"features of {dim} and {len(reference.mean)} dimensions cannot be compared")
    moments = Moments.of(rows)
    if n < max(3, LEAST * dim) or not np.isfinite(moments.scatter).all():
        return None
    centred, gap = torch.from_numpy(rows - moments.mean), torch.from_numpy(moments.mean - reference.mean)
    values, vectors = torch.linalg.eigh(reference.root @ torch.from_numpy(moments.cov) @ reference.root)
    s = positive(values).sqrt()
    first = (centred @ (reference.root @ vectors)).square() * inverse(s)  # z^2 / s
    second = (first @ inverse(s[:, None] + s)) * first
    a, e = (n - 1) / (n - 2), n / (n - 1) ** 2
    without = (gap - centred / (n - 1)).square() - a * e * centred.square()
    distance = (without + a**0.5 * (e * first + e**2 / 2 * second)).sum(dim=1)
    found: Rows = ((n - 1) * (distance.mean() - distance)).numpy()
    return found


def inverse(values: Tensor) -> Tensor:
    """``1 / values``, and 0 for 0: no image goes where there is no spread."""
    return torch.where(values > 0, 1 / values, 0.0)
