"""What follows from the seven scalars, once, for every formulation.

Coefficients of shape ``[B]`` or ``[E, B]`` meet images of shape ``[B, C, H, W]`` or ``[E, B, C, H, W]``; the
shapes broadcast, so shared data ``[B, ...]`` serves ``E`` members.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowbench._core.lazy import lazy
from formulations.formulation import Coeffs

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


def spread(z: Tensor) -> Tensor:
    """A scalar per sample against an image per sample: ``[..., B] -> [..., B, 1, 1, 1]``."""
    return z[..., None, None, None]


def mix(x: Tensor, n: Tensor, c: Coeffs) -> Tensor:
    """``x_t = a x + b n`` from data ``x`` and noise ``n``."""
    return spread(c.a) * x + spread(c.b) * n


def loss(out: Tensor, x: Tensor, n: Tensor, c: Coeffs) -> Tensor:
    """``w mean((out - p x - q n)^2)`` over channels and pixels, ``[..., B]``, float32 or better."""
    out = out.to(torch.promote_types(out.dtype, torch.float32))
    return c.w * (out - spread(c.p) * x - spread(c.q) * n).square().mean(dim=(-3, -2, -1))


def det(c: Coeffs) -> Tensor:
    """``a q - b p``; where it vanishes the output cannot be decoded."""
    return c.a * c.q - c.b * c.p


def split(out: Tensor, x_t: Tensor, c: Coeffs) -> tuple[Tensor, Tensor]:
    """Clean and noise estimate ``((q x_t - b F) / det, (a F - p x_t) / det)`` that output ``F`` implies.

    One sampling step on any path is then ``mix(*split(out, x_t, c), c_next)``: DDIM, and Euler for rectified
    flow and EDM.
    """
    out = out.to(torch.promote_types(out.dtype, torch.float32))
    a, b, p, q, d = (spread(z) for z in (c.a, c.b, c.p, c.q, det(c)))
    return (q * x_t - b * out) / d, (a * out - p * x_t) / d


def common(c: Coeffs) -> Coeffs:
    """Coefficients whose ``loss`` is the error of the implied rectified-flow velocity: w = ((a + b) / det)^2.

    Comparable across formulations, because ``|dF|^2 = (det / (a + b))^2 |d v|^2``, with v on ``x_t / (a +
    b)``.
    """
    return c._replace(w=((c.a + c.b) / det(c)).square())


def log_snr(c: Coeffs) -> Tensor:
    """``2 log(a / b)``, falling from data to noise."""
    return 2 * (torch.log(c.a) - torch.log(c.b))
