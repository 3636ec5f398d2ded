"""CrossDiT: image tokens attend to each other, then to the text, which is not updated.

The block is that of PixArt-alpha (Chen et al. 2023, arXiv 2310.00426), whose cross-attention has neither a norm nor a gate,
and starts at zero:

    x += g1 out(self-attention(mod(x, s1, b1)));  x += cross-attention(x, text);  x += g2 MLP(mod(x, s2, b2))

Each block has adaLN's vectors of its own, as in the DiT. With adaLN-single, as in PixArt, all blocks share one layer that
makes six vectors, and add a learned table to them; the output adds its own to the condition.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bench.models.block_options import OPTIONS, Options
from bench.models.networks.layers import Linear, attention, heads_first, heads_last, normalised
from bench.models.networks.transformer import Stream, TextKeys, Transformer
from bench.models.shape import Shape


class CrossAttention(nn.Module):
    """Attention of image tokens to text tokens; RMS-normalised queries and keys if the options say so."""

    def __init__(self, members: int, width: int, heads: int, options: Options) -> None:
        super().__init__()
        self.heads = heads
        self.query = Linear(members, width, width)
        scale = nn.Parameter(torch.ones(members, 1, 1, 1, 1, width // heads))
        self.q_scale = scale if options.qk == "rms" else None
        self.text = TextKeys(members, width, heads, options)
        self.out = Linear(members, width, width, zero=True)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        q = self.query(x.flatten(1, 2)).view(*x.shape[:3], 1, self.heads, -1)
        attended = attention(heads_first(normalised(q, self.q_scale)).squeeze(0), *self.text(text))
        out: Tensor = self.out(heads_last(attended, len(x)))
        return out.view_as(x)


class CrossDiTBlock(Stream):
    """Self-attention, cross-attention and MLP of image tokens."""

    def __init__(self, members: int, width: int, heads: int, options: Options = OPTIONS) -> None:
        super().__init__(members, width, heads, options=options)
        self.cross = CrossAttention(members, width, heads, options)

    def forward(self, x: Tensor, text: Tensor, m: tuple[Tensor, ...]) -> Tensor:
        attended = attention(*self.per_head(x, *m[:2]))
        x = self.add(x, heads_last(attended, len(x)), m[2])
        return self.mlp(x + self.cross(x, text), *m[3:])


class CrossDiT(Transformer):
    """``members`` CrossDiTs of one ``shape``; ``single``: with adaLN-single."""

    def __init__(
        self, shape: Shape, members: int = 1, options: Options = OPTIONS, single: bool = False
    ) -> None:
        h, count = shape.width, 6 * shape.depth + 2
        blocks = (CrossDiTBlock(members, h, shape.heads, options) for _ in range(shape.depth))
        super().__init__(shape, members, blocks, 6 if single else count)
        self.table = nn.Parameter(torch.zeros(members, 1, count, h)) if single else None

    def vectors(self, condition: Tensor) -> tuple[Tensor, ...]:
        shared = super().vectors(condition)
        if self.table is None:
            return shared
        each = (*shared * self.shape.depth, *[condition.unsqueeze(2)] * 2)
        return tuple(v + own for v, own in zip(each, self.table.split(1, dim=2), strict=True))

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """As of all networks, and tables from a normal distribution of variance 1 / h."""
        super().initialise(generator)
        if self.table is not None:
            draw = torch.randn(self.table.shape[2:], generator=generator, device="cpu")
            self.table.copy_(draw / math.sqrt(self.shape.width))
