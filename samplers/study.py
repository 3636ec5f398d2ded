"""The timestep samplers of the study: Esser et al. 2024, arXiv 2403.03206, section 3.1."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy
from samplers.sampler import Sampler
from samplers.sampler_registry import register

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

MODE_MAX = 2 / (math.pi - 2)
"""Largest ``s`` of ``mode(s)``, 1.75194: beyond it the map is no longer monotone."""


@register("uniform")
def uniform() -> Sampler:
    """t = u; density 1."""
    return Sampler(lambda u: u, flat)


def flat(t: Tensor) -> Tensor:
    """The density of the uniform law."""
    return torch.ones_like(t)


@register("lognorm(m,s)")
def lognorm(m: float, s: float) -> Sampler:
    """t = sigmoid(m + s N^-1(u)), logit-normal; m > 0 leans to noise.

    Density ``exp(-(logit t - m)^2 / (2 s^2)) / (s sqrt(2 pi) t (1 - t))``, ``s`` the standard deviation. On
    the straight path the log-SNR is ``N(-2 m, (2 s)^2)``.

    Raises:
        UserError: if ``s <= 0``.
    """
    positive("lognorm", "s", s)
    return Sampler(lambda u: torch.sigmoid(m + s * torch.special.ndtri(u)), lambda t: logit_normal(t, m, s))


def logit_normal(t: Tensor, m: float, s: float) -> Tensor:
    """Density of ``sigmoid(N(m, s^2))`` at ``t``."""
    z = (torch.logit(t) - m) / s
    return torch.exp(-z * z / 2) / (s * math.sqrt(2 * math.pi) * t * (1 - t))


@register("mode(s)")
def mode(s: float) -> Sampler:
    """t = f(1 - u), f(v) = 1 - v - s (cos^2(pi v / 2) - 1 + v): heavy in the middle for s > 0, at the ends for s < 0.

    The study's f falls in v; at ``1 - u`` it has the same law and rises, so that under shared ``u`` all samplers look at
    the same end. Density ``1 / (dt/du)``, ``dt/du = 1 + s - (s pi / 2) sin(pi u)``: 1 / (1 + s) at
    the ends and 1 / (1 + s - s pi / 2) in the middle; ``s = -1`` is the arcsine law.

    Raises:
        UserError: if ``s`` is outside [-1, 2 / (pi - 2)] = [-1, 1.75194], where the map is not monotone.
    """
    if not -1 <= s <= MODE_MAX:
        raise UserError(f"mode(s) needs s in [-1, {MODE_MAX:.5f}], not {s:g}")
    return Sampler(lambda u: u - s * (torch.sin(math.pi / 2 * u) ** 2 - u))


@register("cosmap")
def cosmap() -> Sampler:
    """t = 1 - 1 / (tan(pi u / 2) + 1): the log-SNR law of the cosine path on the straight path.

    Density ``2 / (pi - 2 pi t + 2 pi t^2)``; written with sine and cosine to be exact near 1.
    """

    def quantile(u: Tensor) -> Tensor:
        sine, cosine = torch.sin(math.pi / 2 * u), torch.cos(math.pi / 2 * u)
        return sine / (sine + cosine)

    return Sampler(quantile, lambda t: 2 / (math.pi * (1 - 2 * t + 2 * t * t)))


def positive(sampler: str, parameter: str, value: float) -> None:
    """Raises UserError unless ``value > 0``."""
    if not value > 0:
        raise UserError(f"{sampler} needs {parameter} > 0, not {value:g}")
