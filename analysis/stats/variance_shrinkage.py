"""Variances from a few seeds, drawn towards what formulations have in common: limma's empirical Bayes (Smyth 2004,
Statistical Applications in Genetics and Molecular Biology 3(1), article 3).

A variance from two degrees of freedom is worth little, and one variance pooled over formulations is wrong for the noisy
ones. The model lies between: true variances vary as ``s0^2 d0 / chi^2_d0`` from formulation to formulation, and the data
determine how much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOOR = 1e-5
"""Smallest variance, relative to the mean one, that enters the fit: zero has no logarithm."""


@dataclass(frozen=True, eq=False)
class Moderated:
    """``variances`` ``[..., F]`` after moderation, and the prior ``prior_variance`` with ``prior_df``, each ``[...]``.

    ``prior_df`` is infinite where the formulations differ no more than chance allows; all then have the mean variance.
    """

    variances: NDArray[np.float64]
    prior_variance: NDArray[np.float64]
    prior_df: NDArray[np.float64]


def moderate(variances: Any, df: Any) -> Moderated:
    """Posterior variances ``(d0 s0^2 + d s_f^2) / (d0 + d)`` of ``variances`` ``s_f^2`` ``[..., F]`` with ``d = df``
    ``[...]`` each.

    The prior matches the mean and the variance of ``log s_f^2`` (Smyth 2004, section 6.2): with
    ``e_f = log s_f^2 - digamma(d/2) + log(d/2)``

        trigamma(d0/2) = var(e) - trigamma(d/2),    log s0^2 = mean(e) + digamma(d0/2) - log(d0/2)

    and ``d0 = inf``, ``s0^2 = mean(s_f^2)`` where the right-hand side of the first is not positive.
    """
    from scipy.special import digamma, polygamma

    found = np.asarray(variances, dtype=np.float64)
    mean, half_df = found.mean(axis=-1), np.asarray(df, dtype=np.float64) / 2
    floor = np.where(mean > 0, FLOOR * mean, 1.0)[..., None]
    logs = np.log(np.maximum(found, floor)) - (digamma(half_df) - np.log(half_df))[..., None]
    spread = logs.var(axis=-1, ddof=1) if found.shape[-1] > 1 else np.zeros_like(mean)
    excess = spread - polygamma(1, half_df)
    unequal = (excess > 0) & (mean > 0)
    half = inverse_trigamma(np.where(unequal, excess, 1.0))
    prior_df = np.where(unequal, 2 * half, np.inf)
    prior = np.where(unequal, np.exp(logs.mean(axis=-1) + digamma(half) - np.log(half)), mean)
    weight = np.where(unequal, half_df / (half + half_df), 0.0)[..., None]  # of a formulation's own variance
    return Moderated(weight * found + (1 - weight) * prior[..., None], prior, prior_df)


def inverse_trigamma(values: Any) -> NDArray[np.float64]:
    """The ``x > 0`` with ``trigamma(x) = values``, for positive ``values`` (Newton's method on 1 / trigamma, which is
    nearly straight; Smyth 2004, appendix)."""
    from scipy.special import polygamma

    y = np.asarray(values, dtype=np.float64)
    x = 0.5 + 1 / y  # above the solution, from where the steps do not overshoot
    for _ in range(60):
        trigamma = polygamma(1, x)
        step = trigamma * (1 - trigamma / y) / polygamma(2, x)
        x = x + step
        if np.all(np.abs(step) <= 1e-12 * x):
            break
    # The asymptotic forms where the steps lose all digits: trigamma(x) -> 1/x^2 for small x and 1/x for large x.
    return np.where(y > 1e7, 1 / np.sqrt(y), np.where(y < 1e-6, 1 / y, x))
