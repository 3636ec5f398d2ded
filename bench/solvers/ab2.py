"""The Adams-Bashforth method of two steps: one evaluation a step, and the velocity of the step before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.solvers.ode import course
from bench.solvers.solver import Steps, register
from flowbench._core.lazy import lazy
from formulations import Formulation

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


@register("ab2", order=2, least=2)
def ab2(f: Formulation, times: Tensor) -> Steps:
    """Adams-Bashforth of two steps of unequal lengths, in the time of the ODE; the first step is Euler's.

        x_{k+1} = x_k + dz_k ((1 + r / 2) v_k - r / 2 v_{k-1}),   r = dz_k / dz_{k-1}

    Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, section III.5.
    """
    way = course(f, times)
    half = torch.zeros_like(way.passed)
    half[1:] = way.passed[1:] / way.passed[:-1] / 2
    tables = []
    for start, slope in zip((way.here.a, way.here.b), way.velocity, strict=True):
        table = torch.zeros(len(times), 2, dtype=torch.float64)
        table[:, 0] = start + way.passed * (1 + half) * slope
        table[1:, 1] = (-way.passed * half)[1:] * slope[:-1]
        tables.append(table)
    return Steps(times, *tables)
