"""Paths ``x_t = a x + b n`` from data (t = 0) to noise (t = 1), each parametrised by t in (0, 1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy
from formulations import grids
from formulations.formulation import Point, ones, same
from formulations.ldm import ldm, zero_terminal

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from formulations.formulation import Formulation
else:
    torch = lazy("torch")


@dataclass(frozen=True, eq=False)
class Path:
    """A path and what comes with it.

    Attributes:
        function: t -> (a, b).
        formula: the same as text.
        preserving: whether a^2 + b^2 = 1 at all times.
        domain: where the function is defined; beyond [0, 1] for the tables.
        c_in: input scale, 1 on paths whose x_t stays of unit size.
        schedule: its sampling grid.
        ode_time: the time in which Euler's method steps.
    """

    function: Callable[[Tensor], tuple[Tensor, Tensor]]
    formula: str
    preserving: bool = False
    domain: tuple[float, float] = (0.0, 1.0)
    c_in: Callable[[Point], Tensor] = ones
    schedule: Callable[[Formulation, int], Tensor] = grids.uniform
    ode_time: Callable[[Tensor], Tensor] = same

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return self.function(t)


def straight() -> Path:
    """a = 1 - t, b = t: rectified flow (Liu et al. 2022, arXiv 2209.03003)."""
    return Path(lambda t: (1 - t, t), "a = 1 - t, b = t")


def cosine() -> Path:
    """a = cos(pi t / 2), b = sin(pi t / 2): cosine without offset, called GVP in SiT (arXiv 2401.08740)."""
    return Path(
        lambda t: (torch.cos(math.pi / 2 * t), torch.sin(math.pi / 2 * t)),
        "a = cos(pi t/2), b = sin(pi t/2)",
        preserving=True,
    )


def linear() -> Path:
    """The LDM schedule: sqrt(beta) linear from sqrt(0.00085) to sqrt(0.012) over 1000 steps, a^2 + b^2 = 1.

    Index i stands at t = i / 999; the log-SNR is interpolated by a monotone cubic and continued linearly to [-0.01,
    1.01], because the table itself spans only clock values 0.028 to 0.936. Values of Stable Diffusion (arXiv
    2112.10752), which the study names but does not print.
    """
    return Path(
        ldm,
        "LDM table: sqrt(beta) from sqrt(.00085) to sqrt(.012), T = 1000, a^2 + b^2 = 1",
        True,
        (-0.01, 1.01),
    )


def zt_linear() -> Path:
    """The LDM schedule with zero terminal SNR: a -> a_0 (a - a_T) / (a_0 - a_T), b = sqrt(1 - a^2).

    Lin et al. 2023, arXiv 2305.08891. Between table entries the angle atan2(a, b) is interpolated, since the
    log-SNR ends at minus infinity.
    """
    return Path(zero_terminal, "LDM table rescaled to a = 0 at t = 1, a^2 + b^2 = 1", True, (-0.0023, 1.0))


def vp(beta_min: float = 0.1, beta_max: float = 20.0) -> Path:
    """a = exp(-B / 2), b = sqrt(1 - a^2), B = beta_min t + (beta_max - beta_min) t^2 / 2.

    The variance-preserving SDE of Song et al. 2021, arXiv 2011.13456.

    Raises:
        UserError: unless 0 < beta_min <= beta_max <= 100.
    """
    if not 0 < beta_min <= beta_max <= 100:
        raise UserError(f"vp needs 0 < beta_min <= beta_max <= 100, not {beta_min:g} and {beta_max:g}")

    def path(t: Tensor) -> tuple[Tensor, Tensor]:
        total = beta_min * t + (beta_max - beta_min) * t * t / 2
        return torch.exp(-total / 2), torch.sqrt(-torch.expm1(-total))

    return Path(
        path, f"a = exp(-B/2), b = sqrt(1 - a^2), B = {beta_min:g} t + {beta_max - beta_min:g} t^2/2", True
    )


def ve() -> Path:
    """a = 1, b = sigma = t / (1 - t): variance exploding, parametrised by its clock.

    So t = sigma / (1 + sigma), and a sampler ``lognorm(m,s)`` of t is the EDM law sigma = exp(m + s N(0, 1)).
    The input is scaled by 1 / sqrt(1 + sigma^2); the grid is Karras' from sigma = 80 to 0.002, and Euler steps in
    sigma (arXiv 2206.00364).
    """
    return Path(
        lambda t: (torch.ones_like(t), t / (1 - t)),
        "a = 1, b = sigma = t/(1 - t)",
        c_in=lambda at: 1 / torch.hypot(at.a, at.b),
        schedule=grids.karras,
        ode_time=lambda t: t / (1 - t),
    )


def trig(sd: float = 0.5) -> Path:
    """a = cos(pi t / 2), b = sd sin(pi t / 2): TrigFlow (Lu and Song 2024, arXiv 2410.11081).

    Their angle is pi t / 2; their noise has the deviation sd of the data. ``F(sd)/trig(sd)`` is
    TrigFlow with the opposite sign of F.

    Raises:
        UserError: if ``sd <= 0``.
    """
    if not sd > 0:
        raise UserError(f"trig needs sd > 0, not {sd:g}")
    return Path(
        lambda t: (torch.cos(math.pi / 2 * t), sd * torch.sin(math.pi / 2 * t)),
        f"a = cos(pi t/2), b = {sd:g} sin(pi t/2)",
        preserving=sd == 1,
    )


def poly(n: float = 2.0) -> Path:
    """a = (1 - t)^n, b = 1 - (1 - t)^n: the polynomial convex path of Lipman et al. 2024, arXiv 2412.06264.

    Raises:
        UserError: unless 0.1 <= n <= 10.
    """
    if not 0.1 <= n <= 10:
        raise UserError(f"poly needs n in [0.1, 10], not {n:g}")
    return Path(lambda t: ((1 - t) ** n, 1 - (1 - t) ** n), f"a = (1 - t)^{n:g}, b = 1 - (1 - t)^{n:g}")


PATHS: dict[str, tuple[Callable[..., Path], tuple[float, ...]]] = {
    "rf": (straight, ()),
    "linear": (linear, ()),
    "ztlinear": (zt_linear, ()),
    "cos": (cosine, ()),
    "vp": (vp, (0.1, 20.0)),
    "ve": (ve, ()),
    "trig": (trig, (0.5,)),
    "poly": (poly, (2.0,)),
}
"""Name -> (constructor, default parameters)."""
