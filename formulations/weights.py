"""Loss spaces (``@x``, ``@eps``, ``@v``) and weights (``+minsnr(5)`` ...): functions Point -> w.

The network's error dF means an error in x, n and v at once, since x_t is known: ``|dx| = |b / det| |dF|``,
``|dn| = |a / det| |dF|``. So a weight is written once, in the space where its authors state it, and its form
in every other space follows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy
from formulations.formulation import Point, Scalar

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

CLAMP = 0.05
"""Smallest |det| by which a loss space divides, as in JiT (arXiv 2511.13720)."""


def _over_det(numerator: Tensor, at: Point) -> Tensor:
    return (numerator / at.det.abs().clamp_min(CLAMP)).square()


def x_space(at: Point) -> Tensor:
    """w = (b / det)^2: the loss is |x^ - x|^2; |det| is clamped at 0.05."""
    return _over_det(at.b, at)


def eps_space(at: Point) -> Tensor:
    """w = (a / det)^2: the loss is |n^ - n|^2; |det| is clamped at 0.05."""
    return _over_det(at.a, at)


def v_space(preserving: bool) -> Scalar:
    """The loss is |v^ - v|^2; |det| is clamped at 0.05.

    Variance-preserving paths: v = a n - b x, w = ((a^2 + b^2) / det)^2. Other paths: v is the velocity a' x +
    b' n, w = ((a b' - b a') / det)^2, which on the straight path with target x is JiT's v-loss 1 / max(t,
    0.05)^2.
    """
    if preserving:
        return lambda at: _over_det(at.a * at.a + at.b * at.b, at)
    return lambda at: _over_det(at.a * at.db - at.b * at.da, at)


SPACES = {"x": "|dx|^2", "eps": "|dn|^2", "v": "|dv|^2"}
"""Name of a loss space -> what the loss measures."""


def in_x(factor: Scalar) -> Scalar:
    """The weight ``factor`` stated for |dx|^2, as a weight on |dF|^2."""
    return lambda at: factor(at) * (at.b / at.det).square()


def in_eps(factor: Scalar) -> Scalar:
    """The weight ``factor`` stated for |dn|^2, as a weight on |dF|^2."""
    return lambda at: factor(at) * (at.a / at.det).square()


def in_log_snr(factor: Scalar) -> Scalar:
    """w(lambda) of ``1/2 integral w(lambda) |dn|^2 d lambda``, as a weight on |dF|^2 under uniform t.

    Kingma and Gao 2023, arXiv 2303.00848. ``d lambda / dt = -2 (a b' - b a') / (a b)``; a sampler other than
    uniform multiplies the result by its density, as it does for every weight.
    """
    return in_eps(lambda at: factor(at) * (at.a * at.db - at.b * at.da).abs() / (at.a * at.b))


def minsnr(gamma: float = 5.0) -> Scalar:
    """min(SNR, gamma) |dx|^2: min(SNR, gamma) / SNR on eps, min(SNR, gamma) / (SNR + 1) on v.

    Hang et al. 2023, arXiv 2303.09556.

    Raises:
        UserError: if ``gamma <= 0``.
    """
    _positive("minsnr", "gamma", gamma)
    return in_x(lambda at: at.snr.clamp_max(gamma))


def softminsnr(gamma: float = 5.0) -> Scalar:
    """gamma SNR / (SNR + gamma) |dx|^2, smooth min-SNR.

    Crowson et al. 2024, arXiv 2401.11605, who write it for EDM's F as (sigma sd)^2 / (sigma^2 + sd^2)^2:
    gamma = sd^-2.

    Raises:
        UserError: if ``gamma <= 0``.
    """
    _positive("softminsnr", "gamma", gamma)
    return in_x(lambda at: gamma / (1 + gamma / at.snr))


def p2(k: float = 1.0, gamma: float = 1.0) -> Scalar:
    """1 / (k + SNR)^gamma |dn|^2. Choi et al. 2022, arXiv 2204.00227.

    Raises:
        UserError: unless k > 0 and gamma >= 0.
    """
    _positive("p2", "k", k)
    if gamma < 0:
        raise UserError(f"p2 needs gamma >= 0, not {gamma:g}")
    return in_eps(lambda at: (k + at.snr) ** -gamma)


def debiased(cap: float = 1000.0) -> Scalar:
    """1 / sqrt(min(SNR, cap)) |dn|^2. Yu et al. 2023, arXiv 2310.08442.

    Some trainers use 1 / (SNR + 1) for v-prediction under the same name, which is another weight on n; here
    every target has the authors' weight.

    Raises:
        UserError: if ``cap <= 0``.
    """
    _positive("debiased", "cap", cap)
    return in_eps(lambda at: at.snr.clamp_max(cap).rsqrt())


def sigmoid(bias: float = 0.0) -> Scalar:
    """w(lambda) = sigmoid(bias - lambda), falling in lambda.

    Kingma and Gao 2023, arXiv 2303.00848; Hoogeboom et al. 2024, arXiv 2410.19324.
    """
    return in_log_snr(lambda at: torch.sigmoid(bias - at.log_snr))


def edmmono(mean: float = -1.2, deviation: float = 1.2, sd: float = 0.5) -> Scalar:
    """w(lambda) of EDM, N(lambda; -2 Pm, (2 Ps)^2) (e^-lambda + sd^2), held at its maximum beyond it.

    Scaled to a maximum of 1. Kingma and Gao 2023, arXiv 2303.00848.

    Raises:
        UserError: if Ps or sd is not positive.
    """
    _positive("edmmono", "Ps", deviation)
    _positive("edmmono", "sd", sd)

    def log_weight(x: Tensor) -> Tensor:
        return -((x + 2 * mean) ** 2) / (8 * deviation**2) + torch.logaddexp(
            -x, torch.full_like(x, 2 * math.log(sd))
        )

    @lru_cache(maxsize=1)
    def peak() -> float:
        low, high = -2 * mean - 4 * deviation**2, -2 * mean  # both terms' slopes have one sign outside
        for _ in range(12):
            grid = torch.linspace(low, high, 1001, dtype=torch.float64)
            best, width = float(grid[log_weight(grid).argmax()]), (high - low) / 1000
            low, high = best - width, best + width
        return best

    def weight(at: Point) -> Tensor:
        x = at.log_snr.clamp_min(peak())
        return torch.exp(log_weight(x) - log_weight(torch.full_like(x, peak())))

    return in_log_snr(weight)


def bell(at: Point) -> Tensor:
    """(exp(-2 (t - 1/2)^2) - e^-1/2) / mean, a factor on the loss at native t, 0 at both ends and of mean 1.

    In use in the DiffSynth-Studio and ai-toolkit trainers.
    """
    floor = math.exp(-0.5)
    mean = math.sqrt(math.pi / 2) * math.erf(math.sqrt(0.5)) - floor
    return (torch.exp(-2 * (at.t - 0.5) ** 2) - floor) / mean


def product(one: Scalar, other: Scalar) -> Scalar:
    """The product of two weights."""
    return lambda at: one(at) * other(at)


def _positive(weight: str, parameter: str, value: float) -> None:
    if not value > 0:
        raise UserError(f"{weight} needs {parameter} > 0, not {value:g}")


WEIGHTS: dict[str, tuple[Callable[..., Scalar], tuple[float, ...], str]] = {
    "minsnr": (minsnr, (5.0,), "min(SNR, g) |dx|^2"),
    "softminsnr": (softminsnr, (5.0,), "g SNR/(SNR + g) |dx|^2"),
    "p2": (p2, (1.0, 1.0), "(k + SNR)^-g |dn|^2"),
    "debiased": (debiased, (1000.0,), "min(SNR, cap)^-1/2 |dn|^2"),
    "sigmoid": (sigmoid, (0.0,), "w(lambda) = sigmoid(bias - lambda)"),
    "edmmono": (edmmono, (-1.2, 1.2, 0.5), "w(lambda) of EDM, constant beyond its maximum"),
    "bell": (lambda: bell, (), "loss times a bell over t, 0 at both ends"),
}
"""Name -> (constructor, default parameters, formula). All but ``bell`` exclude a loss space."""
