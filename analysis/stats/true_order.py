"""How well the true order of formulations agrees with a given one: rank correlations without the dilution by noise.

The order that a run measures is noisy, so it agrees less with any other order than the true one does. The true means
``m_f``, measured as ``y_f`` with variances ``k v_f``, are therefore drawn from their posterior law under

    y_f ~ N(m_f, k v_f),    m_f ~ N(b_0 + b_1 x_f, t^2),    1 / k ~ chi^2_df / df

(Gelman et al. 2014, Bayesian Data Analysis, section 5.4) with flat priors on ``b`` and ``t``, where ``x_f`` are normal
scores of the given order.

A common centre instead of a line would take it for granted that the orders have nothing to do with one
another, and would pull the correlation towards 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from analysis.stats.association import Array

DRAWS, SPREADS, SCALES = 4000, 60, 12
"""Draws, and points of the grids over ``t`` and ``k``."""


def draws(
    means: Array, variances: Array, df: float, other: Array, number: int = DRAWS, seed: int = 0
) -> Array:
    """``[B, F]``: true means as likely as the measured ``means`` ``[F]`` allow, whose ``variances`` ``[F]`` (positive) are
    estimates with ``df`` degrees of freedom; of the values ``other`` ``[F]`` only the order counts."""
    from scipy.special import gammaincinv

    rng, x = np.random.default_rng(seed), np.stack([np.ones(len(other)), _scores(other)], axis=1)
    quantiles = (np.arange(SCALES) + 0.5) / SCALES
    scales = df / (2 * gammaincinv(df / 2, quantiles)) if math.isfinite(df) else np.ones(SCALES)
    widest = 3 * math.sqrt(float(means.var(ddof=1) + variances.mean()))
    grid = np.stack(np.meshgrid(np.linspace(0.0, widest, SPREADS), scales), axis=-1).reshape(-1, 2)
    spreads, noise = grid[:, :1] ** 2, grid[:, 1:] * variances  # [G, 1], [G, F]
    weights = 1 / (noise + spreads)
    precision = np.einsum("gf,fi,fj->gij", weights, x, x)
    covariance = np.linalg.inv(precision)
    lines = np.einsum("gij,gf,fj,f->gi", covariance, weights, x, means)
    misfit = (weights * (means - lines @ x.T) ** 2).sum(axis=1)
    log = (np.log(weights).sum(axis=1) - np.linalg.slogdet(precision)[1] - misfit) / 2
    chance = np.exp(log - log.max())
    picked = rng.choice(len(grid), size=number, p=chance / chance.sum())
    roots = np.linalg.cholesky(covariance)[picked]
    prior = (lines[picked] + np.einsum("bij,bj->bi", roots, rng.normal(size=(number, 2)))) @ x.T
    share = spreads[picked] / (spreads[picked] + noise[picked])
    own = np.sqrt(share * noise[picked]) * rng.normal(size=prior.shape)
    return np.asarray(prior + share * (means - prior) + own)


def correlation(
    measure: Callable[[Array, Array], Array], drawn: Array, other: Array
) -> tuple[float, float, float]:
    """The mean of a coefficient of rank correlation over draws ``[B, F]``, and the ends of its 95 % interval."""
    found = measure(drawn, other)
    low = float(np.quantile(found, 0.025, method="lower"))
    high = float(np.quantile(found, 0.975, method="higher"))
    return float(np.clip(found.mean(), low, high)), low, high


def _scores(other: Array) -> Array:
    """Normal scores of the ranks (Blom 1958), with mean 0."""
    from scipy.special import ndtri
    from scipy.stats import rankdata

    found = ndtri((rankdata(other) - 0.375) / (len(other) + 0.25))
    return np.asarray(found - found.mean())
