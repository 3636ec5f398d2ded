"""UniPC of order 2: DPM-Solver++(2M), whose last step is repeated with the output of the network after it."""

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


@register("unipc2", order=2, least=3)
def unipc2(f: Formulation, times: Tensor) -> Steps:
    """Predict as DPM-Solver++(2M); after the next evaluation correct the state that it was made at, without another one.

    With r = h / h_before of the step that is corrected, its gain g = A - B a / b, x^ after it and x^_0, x^_1 at its
    beginning and one step earlier, the corrector replaces the extrapolation g r / 2 (x^_0 - x^_1) by

        g (rho_1 (x^_1 - x^_0) / (-1 / r) + rho_2 (x^ - x^_0)),   rho_1 + rho_2 = b_1,   -rho_1 / r + rho_2 = b_2

    where ``b_k`` are the moments of the exponential integral with B(h) = e^-h - 1. Corrected steps of the first order have
    rho_2 = 1/2. Algorithms 1 and 2 of arXiv 2302.04867 (UniPC, B_2(h), x^ predicted).
    """
    way = exponential(f, times)
    r, rho, back = way.stretch, torch.full_like(times, 0.5), torch.zeros_like(times)
    h = -way.length[1:-1]
    bound = torch.expm1(h)
    first = (bound / h - 1) / bound
    second = 2 * ((bound / h - 1) / h - 0.5) / bound
    rho[1:-1] = first - (first - second) * r[1:-1] / (1 + r[1:-1])
    back[1:-1] = -(first - second) * r[1:-1] ** 2 / (1 + r[1:-1])

    more = way.gain * r / 2
    image, noise = (torch.zeros(len(times), 3, dtype=torch.float64) for _ in range(2))
    image[:, 0], image[:, 1], noise[:, 0] = way.to_a + more, -more, way.to_b
    corrected = (way.decay[1:] * way.gain[:-1])[:, None]  # the change of the state behind, through this step
    extrapolated = r[:-1] / 2
    change = [rho[:-1], -rho[:-1] - back[:-1] - extrapolated, back[:-1] + extrapolated]
    image[1:] += corrected * torch.stack(change, dim=1)
    return Steps(times, image, noise)
