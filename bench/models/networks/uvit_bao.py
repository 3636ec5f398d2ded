"""U-ViT with long skips (Bao et al. 2022, arXiv 2209.12152): condition, image and text are tokens of one transformer.

The second half of the blocks reads what the first half gave, from the inside out: ``x = Linear([x, skip])`` before block i,
with the skip of block d - 1 - i. There is no adaLN: time and pooled text are one token more. A convolution follows the
patches of the output. Positions are those of the other networks here, where Bao's are learned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from bench.models.block_options import OPTIONS, Options
from bench.models.networks.layers import Conv, Linear, attention, heads_last, modulate
from bench.models.networks.transformer import Conditioned, Stream, embedded, pixels
from bench.models.shape import Shape


class LongSkipBlock(Stream):
    """Attention and MLP behind layer norms with scales and shifts of their own; with ``skip`` it reads an earlier output."""

    def __init__(self, members: int, width: int, heads: int, skip: bool, options: Options = OPTIONS) -> None:
        super().__init__(members, width, heads, options=options)
        self.norms = nn.Parameter(torch.zeros(members, 1, 1, 4, width))
        self.skip = Linear(members, 2 * width, width) if skip else None

    def forward(self, x: Tensor, earlier: Tensor | None) -> Tensor:
        if self.skip is not None and earlier is not None:
            x = self.skip(torch.cat([x, earlier], dim=-1).flatten(1, 2)).view_as(x)
        shift, scale, shift2, scale2 = self.norms.unbind(3)
        attended, one = attention(*self.per_head(x, shift, scale)), x.new_ones(())
        x = self.add(x, heads_last(attended, len(x)), one)
        return self.mlp(x, shift2, scale2, one)


class LongSkipViT(Conditioned):
    """``members`` such networks of one ``shape``, of odd depth."""

    def __init__(self, shape: Shape, members: int = 1, options: Options = OPTIONS) -> None:
        h = shape.width
        super().__init__(shape, members, Linear(members, shape.patch_width, h))
        self.blocks = nn.ModuleList(
            LongSkipBlock(members, h, shape.heads, i > shape.depth // 2, options) for i in range(shape.depth)
        )
        self.norm = nn.Parameter(torch.zeros(members, 1, 1, 2, h))
        self.head = Linear(members, h, shape.patch_width, zero=True)
        self.last = Conv(members, shape.channels, shape.channels, 3)

    def forward(
        self,
        x: Tensor,
        clock: Tensor,
        tokens: Tensor,
        pooled: Tensor,
        blocks: Iterable[Callable[..., Any]] | None = None,
    ) -> Tensor:
        image = embedded(self.patch, x, self.shape) + self.positions
        y = torch.cat([image, self.read(tokens), self.condition(clock, pooled).unsqueeze(2)], dim=2)
        kept, half = list[Tensor](), self.shape.depth // 2
        for i, block in enumerate(blocks or self.blocks):
            y = block(y, kept.pop() if i > half else None)
            if i < half:
                kept.append(y)
        shift, scale = self.norm.unbind(3)
        y = modulate(y[:, :, : image.shape[2]], shift, scale)
        out: Tensor = self.last(pixels(self.head, y, self.shape).transpose(0, 1)).transpose(0, 1)
        return out
