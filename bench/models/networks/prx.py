"""PRX: only image tokens have queries; the text gives keys and values to every block, and is not updated.

The attention is that of Photoroom's PRX (diffusers' ``PRXBlock``); all else is as in the other networks here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.models.block_options import OPTIONS, Options
from bench.models.networks.layers import attention, heads_last
from bench.models.networks.transformer import Stream, TextKeys, Transformer
from bench.models.shape import Shape


class PRXBlock(Stream):
    """Attention of image tokens to each other and to the text, and their MLP."""

    def __init__(self, members: int, width: int, heads: int, options: Options = OPTIONS) -> None:
        super().__init__(members, width, heads, options=options)
        self.text = TextKeys(members, width, heads, options)

    def forward(self, x: Tensor, text: Tensor, m: tuple[Tensor, ...]) -> Tensor:
        q, *own = self.per_head(x, *m[:2])
        k, v = (torch.cat(both, dim=2) for both in zip(own, self.text(text), strict=True))
        return self.finish(x, heads_last(attention(q, k, v), len(x)), *m[2:])


class PRX(Transformer):
    """``members`` PRX networks of one ``shape``."""

    def __init__(self, shape: Shape, members: int = 1, options: Options = OPTIONS) -> None:
        blocks = (PRXBlock(members, shape.width, shape.heads, options) for _ in range(shape.depth))
        super().__init__(shape, members, blocks, 6 * shape.depth + 2)
