"""Further laws of ``t``: Beta, U-shaped, truncated and stretched logit-normal."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy
from samplers.sampler import Sampler, bisect
from samplers.sampler_registry import register
from samplers.study import logit_normal, positive

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


@register("beta(a,b)")
def beta(a: float, b: float) -> Sampler:
    """t = I^-1(u; a, b), the Beta law t^(a-1) (1-t)^(b-1) / B(a, b).

    ``beta(1.5,1)`` is the law of pi0 (arXiv 2410.24164). The quantiles are tabulated once in float64 and read
    by cubic interpolation in logits.

    Raises:
        UserError: unless 0.05 <= a, b <= 1000 (the range in which the table was checked).
    """
    if not (0.05 <= a <= 1000 and 0.05 <= b <= 1000):
        raise UserError(f"beta needs a and b in [0.05, 1000], not {a:g} and {b:g}")
    constant = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

    def density(t: Tensor) -> Tensor:
        return torch.exp((a - 1) * torch.log(t) + (b - 1) * torch.log1p(-t) - constant)

    return Sampler(_interpolate(lambda device: _beta_table(a, b, device)), density)


Knots = tuple["Tensor", "Tensor", "Tensor"]
REACH, COUNT = 18.0, 2049


def _interpolate(table: Callable[[str], Knots]) -> Callable[[Tensor], Tensor]:
    """Cubic Hermite interpolation of logit(t) over equally spaced knots in logit(u), extended linearly."""

    def quantile(u: Tensor) -> Tensor:
        _, value, slope = table(str(u.device))
        step = 2 * REACH / (COUNT - 1)
        place = (torch.logit(u) + REACH) / step
        i = place.clamp(0, COUNT - 2).long()
        z = place - i
        y0, y1, d0, d1 = value[i], value[i + 1], slope[i] * step, slope[i + 1] * step
        inside = y0 + z * (d0 + z * (3 * (y1 - y0) - 2 * d0 - d1 + z * (2 * (y0 - y1) + d0 + d1)))
        outside = torch.where(z < 0, y0 + z * d0, y1 + (z - 1) * d1)
        return torch.sigmoid(torch.where((z >= 0) & (z <= 1), inside, outside))

    return quantile


@lru_cache(maxsize=64)
def _beta_table(a: float, b: float, device: str) -> Knots:
    """Knots, logit of the quantile there and its slope, float64."""
    import numpy as np
    from scipy.special import betaincinv, betaln

    knots = np.linspace(-REACH, REACH, COUNT)
    u, rest = 1 / (1 + np.exp(-knots)), 1 / (1 + np.exp(knots))
    tiny = np.finfo(np.float64).tiny
    t = np.where(u < 0.5, betaincinv(a, b, u), 1 - betaincinv(b, a, rest))
    log_t = np.log(np.maximum(np.where(t < 0.5, t, 1 - betaincinv(b, a, rest)), tiny))
    log_1t = np.log(np.maximum(np.where(t > 0.5, betaincinv(b, a, rest), 1 - t), tiny))
    # d logit(t) / d logit(u) = u (1 - u) / (pi(t) t (1 - t))
    slope = np.exp(np.log(u) + np.log(rest) - (a * log_t + b * log_1t - betaln(a, b)))
    as_tensor = [
        torch.as_tensor(z, dtype=torch.float64, device=device) for z in (knots, log_t - log_1t, slope)
    ]
    return as_tensor[0], as_tensor[1], as_tensor[2]


@register("ushape(a)")
def ushape(a: float) -> Sampler:
    """t = 1/2 + asinh((2 u - 1) sinh(a / 2)) / a, density proportional to e^(a t) + e^(a (1 - t)).

    Lee et al. 2024, arXiv 2405.20320, with a = 4 for the second reflow.

    Raises:
        UserError: unless 0 < a <= 100.
    """
    if not 0 < a <= 100:
        raise UserError(f"ushape needs a in (0, 100], not {a:g}")
    return Sampler(
        lambda u: 0.5 + torch.asinh((2 * u - 1) * math.sinh(a / 2)) / a,
        lambda t: a * torch.cosh(a * (t - 0.5)) / (2 * math.sinh(a / 2)),
    )


@register("trunclognorm(m,s,lo,hi)")
def trunclognorm(m: float, s: float, lo: float, hi: float) -> Sampler:
    """t = sigmoid(m + s N^-1(A + u (B - A))): lognorm(m,s) given lo < t < hi, A and B its CDF there.

    The truncation of stable-audio-tools stated in t; t is not rescaled afterwards.

    Raises:
        UserError: if ``s <= 0``, unless 0 <= lo < hi <= 1, or if that interval holds less than 1e-6 of
            lognorm(m,s).
    """
    positive("trunclognorm", "s", s)
    if not 0 <= lo < hi <= 1:
        raise UserError(f"trunclognorm needs 0 <= lo < hi <= 1, not {lo:g} and {hi:g}")
    below, above = _normal_cdf(lo, m, s), _normal_cdf(hi, m, s)
    if above - below < 1e-6:
        raise UserError(
            f"trunclognorm: the interval {lo:g} to {hi:g} holds less than 1e-6 of lognorm({m:g},{s:g})"
        )

    def density(t: Tensor) -> Tensor:
        inside = (t > lo) & (t < hi)
        return torch.where(inside, logit_normal(t, m, s) / (above - below), torch.zeros_like(t))

    return Sampler(lambda u: torch.sigmoid(m + s * torch.special.ndtri(below + u * (above - below))), density)


def _normal_cdf(t: float, m: float, s: float) -> float:
    """P(sigmoid(N(m, s^2)) <= t)."""
    if t <= 0 or t >= 1:
        return 0.0 if t <= 0 else 1.0
    return 0.5 * math.erfc(-(math.log(t / (1 - t)) - m) / s / math.sqrt(2))


REFLECT = 1e-3
"""Values of the stretched law below it are reflected at it."""


@register("stretched(m,s,floor)")
def stretched(m: float, s: float, floor: float = 0.1) -> Sampler:
    """lognorm(m,s) with its 0.5 and 99.9 percentiles stretched to 0 and 1, plus a share ``floor`` of uniform.

    Below 1e-3 the stretched value is reflected at 1e-3; above 1 it is set to 1; the uniform part lies in
    (1e-3, 1). The sampler of LTX-2 (its shift: m = 0.95 at 1,024 tokens to 2.05 at 4,096, s = 1). Here as one
    quantile function, by bisection of the CDF ``(1 - floor) (G(t) - G(2e-3 - t)) + floor (t - 1e-3) /
    0.999``, G that of the stretched law.

    Raises:
        UserError: if ``s <= 0`` or ``floor`` is outside [0, 1].
    """
    positive("stretched", "s", s)
    if not 0 <= floor <= 1:
        raise UserError(f"stretched needs floor in [0, 1], not {floor:g}")
    low, high = (1 / (1 + math.exp(-(m + s * z))) for z in (-2.5758293035489004, 3.0902323061678132))

    def raw_cdf(t: Tensor) -> Tensor:
        z: Tensor = (low + t * (high - low)).clamp(1e-300, 1)
        below: Tensor = torch.special.ndtr((torch.logit(z) - m) / s)
        return below

    def cdf(t: Tensor) -> Tensor:
        law = raw_cdf(t) - raw_cdf(2 * REFLECT - t)
        return (1 - floor) * law + floor * (t - REFLECT) / (1 - REFLECT)

    def density(t: Tensor) -> Tensor:
        def raw(x: Tensor) -> Tensor:
            z = low + x * (high - low)
            inside = (z > 0) & (z < 1)
            z = z.clamp(1e-300, 1 - 1e-16)
            return torch.where(inside, logit_normal(z, m, s) * (high - low), torch.zeros_like(z))

        law = (1 - floor) * (raw(t) + raw(2 * REFLECT - t)) + floor / (1 - REFLECT)
        return torch.where(t >= REFLECT, law, torch.zeros_like(t))

    return Sampler(lambda u: bisect(cdf, u, REFLECT, 1.0), density)
