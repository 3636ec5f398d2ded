"""Heun's method: a step by Euler, then again by the mean of the velocities at both ends."""

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


@register("heun", order=2, evaluations=lambda steps: 2 * steps - 1, least=2)
def heun(f: Formulation, times: Tensor) -> Steps:
    """Heun's method in the time of the ODE: two evaluations a step, one in the last, which is Euler's.

    Algorithm 1 of arXiv 2206.00364, without added noise. Even rows go to the next time by Euler, odd ones correct that:
    ``x_k + (v_k + v_{k+1}) dz / 2`` with ``x_k = a x^ + b n^`` of the evaluation before.
    """
    way = course(f, times)
    tables = []
    for start, slope in zip((way.here.a, way.here.b), way.velocity, strict=True):
        table = torch.zeros(2 * len(times) - 1, 2, dtype=torch.float64)
        table[0::2, 0] = start + way.passed * slope
        table[1::2, 0] = way.passed[:-1] * slope[1:] / 2
        table[1::2, 1] = (start + way.passed * slope / 2)[:-1]
        tables.append(table)
    return Steps(times.repeat_interleave(2)[1:], *tables)
