"""Times as features, positions, and images as patches: what has no parameters at the ends of the networks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bench.models.shape import Shape

FREQUENCIES = 128
"""Sinusoids of the time embedding; sine and cosine make 256 channels."""


def time_features(clock: Tensor) -> Tensor:
    """Sines and cosines ``[..., 256]`` of ``1000 c_noise w``, ``w`` from 1 to 1/10,000 in equal ratios, in float32."""
    ratios = torch.arange(FREQUENCIES, device=clock.device, dtype=torch.float32) / FREQUENCIES
    angles = 1000 * clock.float()[..., None] * torch.exp(-math.log(10_000) * ratios)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def positions_2d(side: int, width: int) -> Tensor:
    """Sinusoidal positions ``[side * side, width]``: half the channels for the row, half for the column."""
    quarter = width // 4
    w = torch.exp(-math.log(10_000) * torch.arange(quarter, dtype=torch.float64) / quarter)
    angles = torch.arange(side, dtype=torch.float64)[:, None] * w
    axis = torch.cat([angles.sin(), angles.cos()], dim=-1)
    rows, columns = axis[:, None].expand(-1, side, -1), axis[None].expand(side, -1, -1)
    return torch.cat([rows, columns], dim=-1).reshape(side * side, width).float()


def patchify(x: Tensor, p: int) -> Tensor:
    """``[E, B, C, H, W] -> [E, B, N, C p p]``."""
    e, b, c, height, width = x.shape
    x = x.view(e, b, c, height // p, p, width // p, p)
    return x.permute(0, 1, 3, 5, 2, 4, 6).reshape(e, b, (height // p) * (width // p), c * p * p)


def unpatchify(x: Tensor, shape: Shape) -> Tensor:
    """``[E, B, N, C p p] -> [E, B, C, H, W]``."""
    e, b = x.shape[:2]
    n, c, p = shape.side, shape.channels, shape.patch
    return x.view(e, b, n, n, c, p, p).permute(0, 1, 4, 2, 5, 3, 6).reshape(e, b, c, n * p, n * p)
