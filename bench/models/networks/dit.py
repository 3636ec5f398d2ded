"""DiT: one set of weights for all tokens, the MM-DiT of arXiv 2403.03206 whose image and text share their weights.

Text tokens, projected to the width, stand behind those of the image (Peebles & Xie 2023, arXiv 2212.09748, whose network has
classes instead); time and pooled text modulate each block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from bench.models.block_options import OPTIONS, Options
from bench.models.networks.layers import attention, heads_last
from bench.models.networks.transformer import Stream, Transformer
from bench.models.shape import Shape


class DiTBlock(Stream):
    """Attention and MLP of all tokens; only the first ``kept`` leave it, if that is a number: behind the last block no text
    is read."""

    def __init__(
        self, members: int, width: int, heads: int, kept: int | None = None, options: Options = OPTIONS
    ) -> None:
        super().__init__(members, width, heads, options=options)
        self.kept = kept

    def forward(self, x: Tensor, m: tuple[Tensor, ...]) -> Tensor:
        attended = attention(*self.per_head(x, *m[:2]))[:, :, : self.kept]
        return self.finish(x[:, :, : self.kept], heads_last(attended, len(x)), *m[2:])


class DiT(Transformer):
    """``members`` DiTs of one ``shape``."""

    def __init__(self, shape: Shape, members: int = 1, options: Options = OPTIONS) -> None:
        kept = [None] * (shape.depth - 1) + [shape.image_tokens]
        blocks = (DiTBlock(members, shape.width, shape.heads, count, options) for count in kept)
        super().__init__(shape, members, blocks, 6 * shape.depth + 2)

    def through(
        self, image: Tensor, text: Tensor, vectors: tuple[Tensor, ...], blocks: Iterable[Callable[..., Any]]
    ) -> Tensor:
        x = torch.cat([image, text], dim=2)
        for i, block in enumerate(blocks):
            x = block(x, vectors[6 * i : 6 * i + 6])
        return x
