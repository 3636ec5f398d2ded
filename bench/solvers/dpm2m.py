"""DPM-Solver++(2M): two steps in log-SNR, one evaluation a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.solvers.exponential import exponential
from bench.solvers.solver import Steps, register
from flowbench._core.lazy import lazy
from formulations import Formulation

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


@register("dpm++2m", order=2, least=4)
def dpm2m(f: Formulation, times: Tensor) -> Steps:
    """Extrapolate x^ over a step from this evaluation and the one before, in ell = log(a / b):

        x' = A x^ + B n^ + (A - B a / b) h / (2 h_before) (x^ - x^_before)

    The first step, the one after pure noise and the last, which ends at x^, are DDIM's. Algorithm 2 of arXiv 2211.01095.
    """
    way = exponential(f, times)
    more = way.gain * way.stretch / 2
    image = torch.stack([way.to_a + more, -more], dim=1)
    return Steps(times, image, torch.stack([way.to_b, 0 * way.to_b], dim=1))
