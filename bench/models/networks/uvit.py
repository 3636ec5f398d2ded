"""UViT: convolutions on the upper levels, a transformer on the lowest (Hoogeboom et al. 2023, arXiv 2301.11093).

A patch of 2^L pixels makes L levels of ResBlocks, each of half the resolution and twice the channels of the one above, up to
the width h; the transformer so has as many image tokens as those of the other networks. Time and pooled text scale and shift
the second norm of a ResBlock (FiLM):

    x = shortcut(x) + conv(silu(norm(conv(silu(norm(x)))) (1 + scale) + shift))

and modulate the transformer's blocks, which are those of the CrossDiT. ResBlocks on the way up read the outputs of those on
the way down as further channels, in the opposite order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.models.block_options import OPTIONS, Options
from bench.models.networks.crossdit import CrossDiTBlock
from bench.models.networks.layers import Conv, Linear
from bench.models.networks.transformer import Conditioned
from bench.models.shape import Shape


class ResBlock(nn.Module):
    """Two convolutions ``[B, E, in, H, W] -> [B, E, out, H, W]``."""

    def __init__(self, members: int, width_in: int, width_out: int) -> None:
        super().__init__()
        self.one = Conv(members, width_in, width_out, 3)
        self.two = Conv(members, width_out, width_out, 3, zero=True)
        self.shortcut = Conv(members, width_in, width_out, 1) if width_in != width_out else nn.Identity()

    def forward(self, x: Tensor, vectors: Tensor) -> Tensor:
        """``vectors``: its scale and shift ``[B, E, 2 out, 1, 1]``."""
        out: Tensor = self.shortcut(x) + self.two(film(self.one(F.silu(group_norm(x))), vectors))
        return out


class UViT(Conditioned):
    """``members`` UViTs of one ``shape``, with ``convs`` ResBlocks a level on each way."""

    def __init__(self, shape: Shape, members: int = 1, options: Options = OPTIONS, convs: int = 2) -> None:
        h, widths = shape.width, level_widths(shape)
        super().__init__(shape, members, Conv(members, shape.channels, widths[0], 3))
        each = [width for width in widths for _ in range(convs)]
        self.convs, self.films = convs, [2 * width for width in (*each, *reversed(each), widths[0])]
        self.blocks = nn.ModuleList(
            [
                *(ResBlock(members, width, width) for width in each),
                *(CrossDiTBlock(members, h, shape.heads, options) for _ in range(shape.depth)),
                *(ResBlock(members, 2 * width, width) for width in reversed(each)),
            ]
        )
        self.down = nn.ModuleList(Conv(members, width, 2 * width, 1) for width in widths)
        self.up = nn.ModuleList(Conv(members, 2 * width, width, 1) for width in reversed(widths))
        self.modulation = Linear(members, h, sum(self.films) + 6 * shape.depth * h, zero=True)
        self.head = Conv(members, widths[0], shape.channels, 3, zero=True)

    def forward(
        self,
        x: Tensor,
        clock: Tensor,
        tokens: Tensor,
        pooled: Tensor,
        blocks: Iterable[Callable[..., Any]] | None = None,
    ) -> Tensor:
        text, (films, vectors) = self.read(tokens), self.vectors(self.condition(clock, pooled))
        layers, kept, y = iter(blocks or self.blocks), list[Tensor](), self.patch(x.transpose(0, 1))
        for down in self.down:
            for _ in range(self.convs):
                y = next(layers)(y, next(films))
                kept.append(y)
            y = down(F.avg_pool2d(y.flatten(0, 1), 2).unflatten(0, y.shape[:2]))
        image = y.flatten(3).permute(1, 0, 3, 2) + self.positions
        for i in range(self.shape.depth):
            image = next(layers)(image, text, vectors[6 * i : 6 * i + 6])
        y = image.permute(1, 0, 3, 2).unflatten(3, y.shape[3:])
        for up in self.up:
            y = F.interpolate(up(y).flatten(0, 1), scale_factor=2.0).unflatten(0, y.shape[:2])
            for _ in range(self.convs):
                y = next(layers)(torch.cat([y, kept.pop()], dim=2), next(films))
        out: Tensor = self.head(film(y, next(films))).transpose(0, 1)
        return out

    def vectors(self, condition: Tensor) -> tuple[Iterator[Tensor], tuple[Tensor, ...]]:
        """Scales with shifts ``[B, E, 2 c, 1, 1]`` of ResBlocks and output, and adaLN's vectors ``[E, B, 1, h]``."""
        h = self.shape.width
        made: Tensor = self.modulation(F.silu(condition))
        films, rest = made.split([sum(self.films), 6 * self.shape.depth * h], dim=-1)
        adaln: tuple[Tensor, ...] = rest.unsqueeze(2).split(h, dim=-1)
        return iter(films.transpose(0, 1)[..., None, None].split(self.films, dim=2)), adaln


def film(x: Tensor, vectors: Tensor) -> Tensor:
    """``silu(norm(x) (1 + scale) + shift)`` of ``[B, E, c, H, W]``, with scale and shift in ``[B, E, 2 c, 1, 1]``."""
    scale, shift = vectors.chunk(2, dim=2)
    return F.silu(torch.addcmul(shift, group_norm(x), 1 + scale))


def group_norm(x: Tensor) -> Tensor:
    """``[B, E, c, H, W]``, normalised over positions and groups of channels: up to 32, of four channels at least."""
    flat = x.flatten(0, 1)
    return F.group_norm(flat, math.gcd(32, flat.shape[1] // 4), eps=1e-6).view_as(x)


def level_widths(shape: Shape) -> list[int]:
    """Channels of the convolutional levels, the highest resolution first."""
    return [shape.width >> i for i in range(shape.patch.bit_length() - 1, 0, -1)]
