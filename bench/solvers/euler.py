"""Euler's method in the time of the formulation's ODE: the study's solver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.solvers.ode import course
from bench.solvers.solver import Steps, register
from formulations import Formulation

if TYPE_CHECKING:
    from torch import Tensor


@register("euler", order=1)
def euler(f: Formulation, times: Tensor) -> Steps:
    """Euler's method for dy = v dz, v = a' x^ + b' n^, in the time z of the ODE: A = a + a' dz, B = b + b' dz."""
    way = course(f, times)
    step = way.passed / way.rate  # as much of t, to first order
    image, noise = way.here.a + step * way.here.da, way.here.b + step * way.here.db
    return Steps(times, image[:, None], noise[:, None])
