"""DDIM without noise, for every path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.solvers.solver import Steps, register
from flowbench._core.lazy import lazy
from formulations import Formulation

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


@register("ddim", order=1)
def ddim(f: Formulation, times: Tensor) -> Steps:
    """Keep x^ and n^ over a step: A and B are the path's a and b where it ends; the last step ends at x^.

    DDIM without noise (arXiv 2010.02502): exact where x^ and n^ do not change.
    """
    after, end = f.point(times[1:]), torch.ones(1, dtype=torch.float64)
    image, noise = torch.cat([after.a, end]), torch.cat([after.b, 0 * end])
    return Steps(times, image[:, None], noise[:, None])
