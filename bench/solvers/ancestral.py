"""Ancestral sampling: each step draws from the posterior of the noising process between two times of the grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.solvers.exponential import exponential
from bench.solvers.solver import Steps, register
from formulations import Formulation

if TYPE_CHECKING:
    from torch import Tensor


@register("ancestral", order=1)
def ancestral(f: Formulation, times: Tensor) -> Steps:
    """Draw the next state from ``q(x' | x, x^)``: with k = a B / (A b) and fresh normal z

        x' = A x^ + k B n^ + sqrt(1 - k^2) B z

    The last step ends at x^. Equations 6 and 7 of arXiv 2006.11239 for every path; DDIM of arXiv 2010.02502 with eta = 1.
    """
    way = exponential(f, times)
    kept = way.a * way.to_b / (way.to_a * way.b)
    fresh = way.to_b * (1 - kept**2).sqrt()
    return Steps(times, way.to_a[:, None], (kept * way.to_b)[:, None], fresh)
