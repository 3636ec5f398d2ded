"""Samplers stated as a law of the log-SNR: ``t = sigmoid(-lambda / 2)``, the clock of the straight path.

On another path the same ``t`` is drawn, so there the law of the log-SNR is that path's image of it; ``clock(...)``
around the sampler keeps the law of the log-SNR instead.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flowbench._core.lazy import lazy
from samplers.sampler import Quantile, Sampler
from samplers.sampler_registry import register
from samplers.study import positive

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


def from_log_snr(upper: Quantile, density: Quantile) -> Sampler:
    """Sampler of sigmoid(-lambda / 2), from ``upper``: u -> lambda (decreasing) and the density of lambda."""

    def pi(t: Tensor) -> Tensor:
        return density(-2 * torch.logit(t)) * 2 / (t * (1 - t))  # |d lambda / dt| = 2 / (t (1 - t))

    return Sampler(lambda u: torch.sigmoid(-upper(u) / 2), pi)


@register("laplace(mu,b)")
def laplace(mu: float, b: float) -> Sampler:
    """lambda = mu + b sgn(1/2 - u) (-ln(1 - 2 |u - 1/2|)), Laplace law of the log-SNR.

    Density of lambda ``exp(-|lambda - mu| / b) / (2 b)``. Hang et al. 2024, arXiv 2407.03297 (mu = 0; b = 0.5
    at 256 pixels, 0.75 at 512).

    Raises:
        UserError: if ``b <= 0``.
    """
    positive("laplace", "b", b)

    def upper(u: Tensor) -> Tensor:
        return mu - b * torch.sign(0.5 - u) * torch.log(2 * torch.minimum(u, 1 - u))

    return from_log_snr(upper, lambda x: torch.exp(-(x - mu).abs() / b) / (2 * b))


@register("cauchy(mu,gamma)")
def cauchy(mu: float, gamma: float) -> Sampler:
    """lambda = mu + gamma tan(pi (1/2 - u)), Cauchy law of the log-SNR.

    Density of lambda ``gamma / (pi ((lambda - mu)^2 + gamma^2))``. Hang et al. 2024, arXiv 2407.03297.

    Raises:
        UserError: if ``gamma <= 0``.
    """
    positive("cauchy", "gamma", gamma)
    return from_log_snr(
        lambda u: mu + gamma * torch.tan(math.pi * (0.5 - u)),
        lambda x: gamma / (math.pi * ((x - mu) ** 2 + gamma**2)),
    )


def _cosine(u: Tensor) -> Tensor:
    return -2 * torch.log(torch.tan(math.pi / 2 * u))


@register("cosshift(mu)")
def cosshift(mu: float) -> Sampler:
    """lambda = mu - 2 ln tan(pi u / 2), the cosine law shifted by mu; mu = 0 is cosmap.

    Density of lambda ``sech((lambda - mu) / 2) / (2 pi)``. Hoogeboom et al. 2023, arXiv 2301.11093 (shift
    ``2 ln(d_noise / d_image)``); Hang et al. 2024.
    """
    return from_log_snr(lambda u: mu + _cosine(u), lambda x: 1 / (2 * math.pi * torch.cosh((x - mu) / 2)))


@register("cosscale(s)")
def cosscale(s: float) -> Sampler:
    """lambda = -(2 / s) ln tan(pi u / 2), the cosine law narrowed s times; s = 1 is cosmap.

    Density of lambda ``s sech(s lambda / 2) / (2 pi)``. Hang et al. 2024, arXiv 2407.03297.

    Raises:
        UserError: if ``s <= 0``.
    """
    positive("cosscale", "s", s)
    return from_log_snr(lambda u: _cosine(u) / s, lambda x: s / (2 * math.pi * torch.cosh(s * x / 2)))
