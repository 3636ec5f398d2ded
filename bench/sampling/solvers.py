"""Solvers: where a step leads, as two numbers for the image and the noise that the network's output decodes to.

    x_s = A x^ + B n^

A step leaves time t with ``x_t = a x^ + b n^``, so that every method of one evaluation a step has this form. Solvers know no
network and no guidance; a table of (A, B) is all that sampling needs of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from bench.config.settings import Setting
from formulations import Formulation
from samplers.sampler import rates

Solve = Callable[[Formulation, Tensor], tuple[Tensor, Tensor]]
"""From native times ``[steps]``, descending, to (A, B) of the step that leaves each; float64. The last one ends at data."""


def euler(f: Formulation, times: Tensor) -> tuple[Tensor, Tensor]:
    """Euler's method for dy = v dt, v = a' x^ + b' n^, in the time of the formulation's ODE: A = a + a' dt, B = b + b' dt.

    The ODE of arXiv 2403.03206, whose time is the path's own; EDM's is sigma (arXiv 2206.00364). Ends at t = 0.
    """
    here, end = f.point(times), torch.zeros(1, dtype=torch.float64)
    passed = f.ode_time(torch.cat([times, end])).diff()
    step = passed / rates(lambda t: (f.ode_time(t),), times)[0]  # as much of t, to first order
    return here.a + step * here.da, here.b + step * here.db


def ddim(f: Formulation, times: Tensor) -> tuple[Tensor, Tensor]:
    """Keep x^ and n^ over a step: A and B are the path's a and b where it ends; the last step ends at x^.

    DDIM without noise (arXiv 2010.02502) for every path: exact where x^ and n^ do not change.
    """
    after, end = f.point(times[1:]), torch.ones(1, dtype=torch.float64)
    return torch.cat([after.a, end]), torch.cat([after.b, 0 * end])


SOLVERS: dict[str, Solve] = {"euler": euler, "ddim": ddim}


def begun(f: Formulation, start: float | Literal["native"]) -> Formulation:
    """The formulation with its sampling grids from b / a = ``start`` (:class:`bench.config.experiment.Evaluation`)."""
    return f if start == "native" else replace(f, top=float(start))


def times(f: Formulation, setting: Setting) -> Tensor:
    """The native times ``[steps]`` that the steps of a setting leave, float64."""
    return f.grid(setting.steps) if setting.grid == "native" else f.clock_grid(setting.steps)
