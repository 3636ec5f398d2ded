"""Steps in the log-SNR half, ``ell = log(a / b)``: what exponential integrators have in common.

Over a step from (a, b) to (A, B), h = ell' - ell, the linear part is solved exactly and x^ is interpolated:

    x' = (B / b) x + (A - B a / b) x^ + ...,   A - B a / b = A (1 - e^-h)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowbench._core.lazy import lazy
from formulations import Formulation

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


@dataclass(frozen=True, eq=False)
class Exponential:
    """Steps from one time of a grid to the next, each field ``[steps]``, float64; the last goes to data, (A, B) = (1, 0)."""

    a: Tensor
    b: Tensor
    to_a: Tensor
    """A"""
    to_b: Tensor
    """B"""
    length: Tensor
    """h, infinite from pure noise and to data"""

    @property
    def decay(self) -> Tensor:
        """B / b, the factor of the state."""
        return self.to_b / self.b

    @property
    def gain(self) -> Tensor:
        """A - B a / b, the factor of x^."""
        return self.to_a - self.decay * self.a

    @property
    def stretch(self) -> Tensor:
        """h over that of the step before; 0 where there is none or it began at pure noise, and for the last step.

        There a method of two steps is one of one step.
        """
        found = torch.zeros_like(self.length)
        found[1:-1] = self.length[1:-1] / self.length[:-2]
        return found


def exponential(f: Formulation, times: Tensor) -> Exponential:
    """The steps that leave the native ``times [steps]``."""
    here = f.point(times)
    to_a, to_b = (
        torch.cat([part[1:], part.new_full((1,), end)]) for part, end in ((here.a, 1.0), (here.b, 0.0))
    )
    length = to_a.log() - to_b.log() - here.a.log() + here.b.log()
    return Exponential(here.a, here.b, to_a, to_b, length)
