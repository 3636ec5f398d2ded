"""Layers with a leading member axis, and attention.

Every parameter carries the member axis first, so a linear layer is a batched matrix product, and attention, which has no
weights, folds members into the batch. With one member this is the ordinary network.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.models.networks.attention_probe import WATCHING


class Layer(nn.Module):
    """Weights and biases with the member axis first; ``zero``: its weights start at zero."""

    def __init__(self, weight: tuple[int, ...], bias: tuple[int, ...], zero: bool) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(weight)), nn.Parameter(torch.zeros(bias))
        self.zero = zero

    def initialise(self, generator: torch.Generator) -> None:
        """Xavier-uniform weights, the same for every member, unless the layer starts at zero."""
        if not self.zero:
            sizes = self.weight.shape[1:]
            bound = math.sqrt(6 / ((sizes[0] + sizes[1]) * math.prod(sizes[2:])))
            self.weight.copy_(bound * (torch.rand(sizes, generator=generator, device="cpu") * 2 - 1))


class Linear(Layer):
    """``y[e] = x[e] W[e] + b[e]`` for members ``e``: ``[E, N, in] -> [E, N, out]``."""

    def __init__(self, members: int, width_in: int, width_out: int, zero: bool = False) -> None:
        super().__init__((members, width_in, width_out), (members, 1, width_out), zero)

    def forward(self, x: Tensor) -> Tensor:
        if len(self.weight) == 1:  # the ordinary product is faster than a batch of one
            x, weight, bias = x.squeeze(0), self.weight.squeeze(0), self.bias.squeeze(0)
            return torch.addmm(bias, x, weight).unsqueeze(0)
        return torch.baddbmm(self.bias, x, self.weight)


class Conv(Layer):
    """A convolution of odd ``kernel`` at one resolution: ``[B, E, in, H, W] -> [B, E, out, H, W]``, members second."""

    def __init__(self, members: int, width_in: int, width_out: int, kernel: int, zero: bool = False) -> None:
        super().__init__((members, width_out, width_in, kernel, kernel), (members, width_out), zero)

    def forward(self, x: Tensor) -> Tensor:
        weight, pad = self.weight, self.weight.shape[-1] // 2
        flat, kernels = x.flatten(1, 2), weight.flatten(0, 1)
        out: Tensor = F.conv2d(flat, kernels, self.bias.flatten(), padding=pad, groups=len(weight)).unflatten(
            1, (len(weight), -1)
        )
        return out


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Layer norm without parameters, then ``x (1 + scale) + shift``; x ``[E, B, N, h]``, the others ``[E, B, 1, h]``."""
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=1e-6), 1 + scale)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """``softmax(q k^T / sqrt(D)) v`` over ``[N, heads, S, D]``.

    On a CPU and for short sequences plain products take half the time of the fused kernel.
    """
    for watch in WATCHING:
        watch(q, k)
    if q.device.type != "cpu" or q.shape[2] > 128:
        return F.scaled_dot_product_attention(q, k, v)
    heads = q.shape[1]
    q, k, v = (part.flatten(0, 1) for part in (q * q.shape[-1] ** -0.5, k, v))
    weights = torch.softmax(torch.bmm(q, k.mT), dim=-1)
    attended: Tensor = torch.bmm(weights, v).unflatten(0, (-1, heads))
    return attended


def normalised(x: Tensor, scale: Tensor | None) -> Tensor:
    """Queries or keys ``[..., D]`` RMS-normalised per head and scaled; as they are without a scale."""
    return x if scale is None else F.rms_norm(x, x.shape[-1:], eps=1e-6) * scale


def heads_first(x: Tensor) -> Tensor:
    """``[E, B, N, k, heads, D]`` as ``[k, E B, heads, N, D]``."""
    return x.permute(3, 0, 1, 4, 2, 5).flatten(1, 2)


def joined(*streams: Tensor) -> Tensor:
    """``[E, B, N, k, heads, D]`` of several streams as ``[k, E B, heads, N of all, D]``."""
    return torch.cat([heads_first(part) for part in streams], dim=3)


def heads_last(attended: Tensor, members: int) -> Tensor:
    """``[E B, heads, N, D]`` as ``[E, B N, heads D]``."""
    return attended.transpose(1, 2).reshape(members, -1, attended.shape[1] * attended.shape[3])
