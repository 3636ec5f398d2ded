"""DPM-Solver++(2M) of the reverse SDE: two steps in log-SNR with fresh noise, one evaluation a step."""

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


@register("dpm++2m_sde", order=1, least=4)
def dpm2m_sde(f: Formulation, times: Tensor) -> Steps:
    """Extrapolate x^ as DPM-Solver++(2M) and renew the noise as ancestral sampling; with k = e^-h = a B / (A b)

        x' = A x^ + k B n^ + A (1 - k^2) h / (2 h_before) (x^ - x^_before) + sqrt(1 - k^2) B z

    for the reverse SDE whose noise has the law of the forward one. SDE-DPM-Solver++(2M) of arXiv 2211.01095.
    """
    way = exponential(f, times)
    kept = way.a * way.to_b / (way.to_a * way.b)
    more = way.to_a * (1 - kept**2) * way.stretch / 2
    image = torch.stack([way.to_a + more, -more], dim=1)
    noise = torch.stack([kept * way.to_b, 0 * kept], dim=1)
    return Steps(times, image, noise, way.to_b * (1 - kept**2).sqrt())
