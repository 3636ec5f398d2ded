"""Where a formulation spends its training: its density, its budget and its weight over noise levels.

Every formulation is rectified flow with another weight, since ``|dF|^2 = (det / (a + b))^2 |dv|^2``: over the
clock ``s = b / (a + b)`` it trains with the weight ``density(s) w (det / (a + b))^2``. That curve, scaled to
integrate to 1, is the training budget; the paper's w(lambda) is ``budget(s) e^(-lambda / 2)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowbench._core.lazy import lazy
from formulations.formulation import EDGE_U, Formulation
from samplers.sampler_registry import registry

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


def law(f: Formulation) -> str:
    """The sampler's name and the first line of its documentation."""
    entry = registry.entries.get(f.law.name.partition("(")[0])
    return f"{f.law.name}: {entry.summary}".replace("``", "") if entry else f.law.name


def velocity_weight(f: Formulation, t: Tensor) -> Tensor:
    """``w (det / (a + b))^2`` at native time ``t``: the weight on the error of the implied velocity."""
    at = f.point(t)
    return f.coeffs(at.t).w * (at.det / (at.a + at.b)).square()


def budget(f: Formulation, bins: int = 5, progress: float = 0.0, count: int = 200_000) -> list[float]:
    """Share of the training loss in each of ``bins`` equal parts of the clock, from data to noise; sums to 1.

    ``E_u[w (det / (a + b))^2 1{s in bin}]`` by the midpoint rule over ``count`` quantiles, at ``progress`` of
    the training.
    """
    t = f.times((torch.arange(count, dtype=torch.float64) + 0.5) / count, progress)
    spent = velocity_weight(f, t)
    place = (f.clock(t) * bins).long().clamp(0, bins - 1)
    share = torch.bincount(place, weights=spent, minlength=bins)
    return [float(z) for z in share / share.sum()]


@dataclass(frozen=True)
class Curves:
    """Curves over noise levels, float64 ``[N]``, ordered from data to noise."""

    clock: Tensor
    density: Tensor
    """Density of the training times over the clock."""
    budget: Tensor
    """Share of the loss per unit of the clock; integrates to 1."""
    log_snr: Tensor
    weight: Tensor
    """w(lambda) = budget e^(-lambda / 2), the weight of ``1/2 integral w(lambda) |dn|^2 d lambda``."""


def curves(f: Formulation, progress: float = 0.0, count: int = 4001) -> Curves:
    """The curves at ``progress`` of the training, through ``count`` quantiles, dense in both tails."""
    reach = torch.logit(torch.tensor(1 - EDGE_U, dtype=torch.float64))
    u = torch.sigmoid(torch.linspace(-float(reach), float(reach), count, dtype=torch.float64))
    t = f.times(u, progress)
    s, weight = f.clock(t), velocity_weight(f, t)
    if float(s[0]) > float(s[-1]):
        u, s, weight = 1 - u.flip(0), s.flip(0), weight.flip(0)
    rises = torch.cat(
        [s.new_ones(1, dtype=torch.bool), s.diff() > 0]
    )  # drops times that the edges of t clamped
    u, s, weight = u[rises], s[rises], weight[rises]
    (density,) = torch.gradient(u, spacing=(s,))
    spent = density * weight
    spent = spent / torch.trapezoid(spent, s)
    log_snr = 2 * torch.log((1 - s) / s)
    return Curves(s, density, spent, log_snr, spent * torch.exp(-log_snr / 2))
