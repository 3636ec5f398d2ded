"""Power laws of the loss, fitted to many draws at once.

``L = E + A (x / x0)^-alpha`` is fitted by least squares of log residuals, as the noise of a loss is proportional to it. The
start is the best point of a scan over alpha: given alpha, E and A are linear. From there all draws take Levenberg-Marquardt
steps, in one array. E, A and alpha can hardly be separated within a short range of x, so that the steps are in

    L = m + s (exp(-alpha u) - 1) / alpha,    u = log x - mean(log x)

whose m and s, level and steepness in the middle, are known well whatever alpha is. E = m - s / alpha may come out negative;
the best fit within the bounds is then that with E = 0, a straight line in logarithms. The tests compare with
`scipy.optimize.least_squares` from many starts, which would take one draw at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.stats.association import Array

ALPHA = (1e-3, 3.0)
"""Exponents that are looked at."""
_SCAN = np.geomspace(*ALPHA, 16)
_STEPS = 60


@dataclass(frozen=True, eq=False)
class Law:
    """``L = E + A (x / x0)^-alpha``: parameters of one fit, or of many (``[B]``). ``A`` is the part of the loss at ``x0``
    that a larger ``x`` can take away; ``error`` the root mean square of the log residuals."""

    e: Any
    a: Any
    alpha: Any
    x0: float
    error: Any

    def __call__(self, x: Array) -> Array:
        """Losses ``[..., n]`` at ``x`` ``[n]``."""
        e, a, alpha = (np.asarray(p)[..., None] for p in (self.e, self.a, self.alpha))
        return np.asarray(e + a * (x / self.x0) ** -alpha)

    @property
    def at_bound(self) -> tuple[bool, bool]:
        """Whether E is 0, and whether alpha is at an end of `ALPHA` (of one fit)."""
        low, high = ALPHA
        return bool(self.e <= 0), not low * 1.001 < self.alpha < high / 1.001


def fit(x: Array, logs: Array, counted: Any = True) -> Law:
    """Fit losses, given as logarithms ``[..., n]``, at ``x`` ``[n]`` with ``E >= 0``, ``A > 0`` and alpha in `ALPHA`, to the
    points that are ``counted`` ``[..., n]``. ``x0`` is the power of ten nearest to the geometric mean of ``x``."""
    x0 = 10.0 ** round(float(np.log10(x).mean()))
    shape, batch = logs.shape[:-1], logs.reshape(-1, logs.shape[-1])
    weights = np.broadcast_to(np.asarray(counted, dtype=np.float64), logs.shape).reshape(batch.shape)
    count = weights.sum(axis=-1)
    scale = (weights * batch).sum(axis=-1) / count  # the fit is the same in any unit of the loss
    middle = weights @ np.log(x / x0) / count
    batch, u = batch - scale[:, None], np.log(x / x0) - middle[:, None]
    theta = _polish(u, batch, weights, _start(u, np.exp(batch), weights))
    m, s, alpha = theta.T
    bent, line = (m >= s / alpha) & (s > 0), _line(u, batch, weights)
    alpha = np.where(bent, alpha, line)
    e, a = np.where(bent, m - s / alpha, 0.0), np.where(bent, s / alpha, 1.0)
    with np.errstate(over="ignore"):  # of an unlucky draw from two seeds
        e, a = e * np.exp(scale), a * np.exp(scale + alpha * middle)
    residuals = np.where(
        bent[:, None], _residuals(u, batch, weights, theta)[0], weights * (batch + alpha[:, None] * u)
    )
    error = np.sqrt((residuals**2).sum(axis=-1) / count)
    e, a, alpha, error = (part.reshape(shape)[()] for part in (e, a, alpha, error))
    return Law(e, a, alpha, x0, error)


def slope(x: Array, logs: Array) -> Array:
    """Exponent ``a`` ``[...]`` of ``L = c x^-a``: a straight line through the logarithms ``logs`` ``[..., n]`` of losses."""
    u = np.log(x) - np.log(x).mean()
    return np.asarray(-(logs @ u) / (u @ u))


def _line(u: Array, logs: Array, weights: Array) -> Array:
    """alpha ``[B]`` of the best fit with E = 0; ``u`` and ``logs`` have mean 0."""
    spread = (weights * u**2).sum(axis=-1)
    steepness = -(weights * u * logs).sum(axis=-1)
    return np.asarray(np.divide(steepness, spread, out=np.ones_like(spread), where=spread > 0).clip(*ALPHA))


def _start(u: Array, loss: Array, weights: Array) -> Array:
    """(m, s, alpha) ``[B, 3]`` at the best of `_SCAN`, by least squares of ``(E + A z) / L - 1`` with ``E >= 0``."""
    best, least = np.ones((len(loss), 3)), np.full(len(loss), np.inf)
    one = weights / loss
    for alpha in _SCAN:
        z = np.exp(-alpha * u)
        ee, ea, aa = ((one / loss * z**k).sum(axis=-1) for k in range(3))
        e1, a1 = one.sum(axis=-1), (one * z).sum(axis=-1)
        determinant = ee * aa - ea**2
        sound = determinant > 1e-12 * ee * aa
        e = np.where(sound, (aa * e1 - ea * a1) / np.where(sound, determinant, 1.0), 0.0).clip(0.0)
        a = (a1 - ea * e) / aa
        cost = e**2 * ee + 2 * e * a * ea + a**2 * aa - 2 * (e * e1 + a * a1)
        better = cost < least
        best[better] = np.stack([e + a, alpha * a, np.full_like(a, alpha)], axis=-1)[better]
        least = np.minimum(least, cost)
    return best


def _residuals(u: Array, logs: Array, weights: Array, theta: Array) -> tuple[Array, Array]:
    """``log L(u) - logs`` ``[B, n]`` and its derivatives by (m, s, alpha) ``[B, n, 3]``, both zero where a point is not
    counted; infinite residuals where L is not positive."""
    m, s, alpha = (theta[:, i, None] for i in range(3))
    z = np.exp(-alpha * u)
    part = (z - 1) / alpha
    value = m + s * part
    sound = value > 0
    safe = np.where(sound, value, 1.0)
    jacobian = np.stack([np.ones_like(z), part, -s * (u * z + part) / alpha], axis=-1) / safe[..., None]
    residual = np.where(sound, np.log(safe) - logs, np.inf)
    return np.where(weights > 0, residual, 0.0), weights[..., None] * jacobian


def _polish(u: Array, logs: Array, weights: Array, theta: Array) -> Array:
    """Levenberg-Marquardt steps; an alpha at a bound that would leave it stays for that step."""
    low, high = ALPHA
    damping = np.full(len(theta), 1e-3)
    residual, jacobian = _residuals(u, logs, weights, theta)
    cost = (residual**2).sum(axis=-1)
    for _ in range(_STEPS):
        gradient = np.einsum("bni,bn->bi", jacobian, residual)
        free = np.ones(theta.shape, dtype=bool)
        free[:, 2] = np.where(gradient[:, 2] > 0, theta[:, 2] > low, theta[:, 2] < high)
        normal = np.einsum("bni,bnj->bij", jacobian, jacobian) * (free[:, :, None] & free[:, None, :])
        ridge = damping[:, None] * np.einsum("bii->bi", normal) + np.where(free, 1e-15, 1.0)
        step = -np.linalg.solve(normal + np.eye(3) * ridge[:, None, :], (gradient * free)[..., None])[..., 0]
        tried = theta + step
        tried[:, 2] = tried[:, 2].clip(low, high)
        new_residual, new_jacobian = _residuals(u, logs, weights, tried)
        new_cost = (new_residual**2).sum(axis=-1)
        better = new_cost <= cost
        damping = np.where(better, damping / 5, damping * 5).clip(1e-12, 1e12)
        done = np.abs(tried - theta).max() < 1e-11
        theta = np.where(better[:, None], tried, theta)
        residual = np.where(better[:, None], new_residual, residual)
        jacobian = np.where(better[:, None, None], new_jacobian, jacobian)
        cost = np.where(better, new_cost, cost)
        if done:
            break
    return theta
