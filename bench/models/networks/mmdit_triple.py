"""MM-DiT with three sets of weights: image, tokens of the first text encoder (CLIP), and those of the second (T5).

The variant that arXiv 2403.03206, section 5.2 compares with two sets. All text tokens pass the same projection to the width;
from there on, each set has weights and modulation of its own, and all tokens attend to each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

from bench.models.block_options import OPTIONS, Options
from bench.models.networks.layers import attention, heads_last, joined
from bench.models.networks.transformer import Stream, Transformer
from bench.models.shape import Shape


class TripleBlock(nn.Module):
    """Three streams, one attention over their concatenated tokens; the texts of the ``last`` only supply keys and values."""

    def __init__(self, members: int, width: int, heads: int, last: bool, options: Options = OPTIONS) -> None:
        super().__init__()
        self.image = Stream(members, width, heads, options=options)
        self.first = Stream(members, width, heads, last, options)
        self.second = Stream(members, width, heads, last, options)

    def forward(self, x: tuple[Tensor, ...], m: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """``x``: tokens ``[E, B, N, h]`` of each stream; ``m``: their vectors, one stream after the other."""
        streams, members = (self.image, self.first, self.second), len(x[0])
        each = 2 if self.first.last else 6
        parts = m[:6], m[6 : 6 + each], m[6 + each :]
        projected = [s.project(y, *v[:2]) for s, y, v in zip(streams, x, parts, strict=True)]
        qk, v = (joined(*several) for several in zip(*projected, strict=True))
        q, k = qk.unbind(0)
        joint = attention(q, k, v.squeeze(0)).split([y.shape[2] for y in x], dim=2)
        return tuple(
            y if stream.last else stream.finish(y, heads_last(own, members), *vectors[2:])
            for stream, y, own, vectors in zip(streams, x, joint, parts, strict=True)
        )


class TripleMMDiT(Transformer):
    """``members`` such networks of one ``shape``. One that does not say where the second text begins, as in estimates, has
    it in the middle."""

    def __init__(self, shape: Shape, members: int = 1, options: Options = OPTIONS) -> None:
        blocks = (
            TripleBlock(members, shape.width, shape.heads, i == shape.depth - 1, options)
            for i in range(shape.depth)
        )
        super().__init__(shape, members, blocks, 18 * shape.depth - 8 + 2)
        self.first = shape.first_text or shape.text_length // 2

    def through(
        self, image: Tensor, text: Tensor, vectors: tuple[Tensor, ...], blocks: Iterable[Callable[..., Any]]
    ) -> Tensor:
        x = image, text[:, :, : self.first], text[:, :, self.first :]
        for i, block in enumerate(blocks):
            x = block(x, vectors[18 * i : 18 * i + 18])
        return x[0]
