"""The velocity of a formulation's ODE, for solvers that step in its own time: dy = v dz, v = a' x^ + b' n^."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowbench._core.lazy import lazy
from formulations import Formulation, Point
from samplers.sampler import rates

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


@dataclass(frozen=True, eq=False)
class Course:
    """Where steps begin, and how far each goes in the time z of the ODE; the last one goes to t = 0."""

    here: Point
    passed: Tensor
    """``[steps]``: change of z over each step, negative"""
    rate: Tensor
    """``[steps]``: dz / dt where it begins"""

    @property
    def velocity(self) -> tuple[Tensor, Tensor]:
        """The factors of x^ and n^ in dy / dz where each step begins, ``[steps]``."""
        return self.here.da / self.rate, self.here.db / self.rate


def course(f: Formulation, times: Tensor) -> Course:
    """The steps that leave the native ``times [steps]``; float64.

    The ODE of arXiv 2403.03206, whose time is the path's own; EDM's is sigma (arXiv 2206.00364).
    """
    end = torch.zeros(1, dtype=torch.float64)
    passed = f.ode_time(torch.cat([times, end])).diff()
    return Course(f.point(times), passed, rates(lambda t: (f.ode_time(t),), times)[0])
