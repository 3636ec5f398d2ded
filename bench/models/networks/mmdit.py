"""MM-DiT with a leading member axis: E independent models that train in one graph.

The architecture is that of arXiv 2403.03206, section 4: image patches and text tokens form two streams with weights
of their own, joined in the attention of every block; timestep and pooled text modulate each block (adaLN-Zero);
queries and keys are RMS-normalised per head, unless the options say otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

from bench.models.block_options import OPTIONS, Options
from bench.models.networks.layers import attention, heads_last, joined
from bench.models.networks.transformer import Stream, Transformer
from bench.models.shape import Shape


class Block(nn.Module):
    """A joint block: two streams, one attention over their concatenated tokens."""

    def __init__(self, members: int, width: int, heads: int, last: bool, options: Options = OPTIONS) -> None:
        super().__init__()
        self.image = Stream(members, width, heads, options=options)
        self.text = Stream(members, width, heads, last, options)

    def forward(self, image: Tensor, text: Tensor, m: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        mi, mt = m[:6], m[6:]
        (image_qk, image_v), (text_qk, text_v) = (
            self.image.project(image, *mi[:2]), self.text.project(text, *mt[:2])
        )  # fmt: skip
        q, k = joined(image_qk, text_qk).unbind(0)
        joint = attention(q, k, joined(image_v, text_v).squeeze(0))
        for_image, for_text = (
            heads_last(part, len(image)) for part in joint.split([image.shape[2], text.shape[2]], dim=2)
        )
        image = self.image.finish(image, for_image, *mi[2:])
        if not self.text.last:
            text = self.text.finish(text, for_text, *mt[2:])
        return image, text


class MMDiT(Transformer):
    """``members`` MM-DiTs of one ``shape``."""

    def __init__(self, shape: Shape, members: int = 1, options: Options = OPTIONS) -> None:
        blocks = (
            Block(members, shape.width, shape.heads, i == shape.depth - 1, options)
            for i in range(shape.depth)
        )
        # 12 vectors a block, 8 of the last (its text ends early), 2 of the output
        super().__init__(shape, members, blocks, 12 * shape.depth - 4 + 2)

    def through(
        self, image: Tensor, text: Tensor, vectors: tuple[Tensor, ...], blocks: Iterable[Callable[..., Any]]
    ) -> Tensor:
        for i, block in enumerate(blocks):
            image, text = block(image, text, vectors[12 * i : 12 * i + 12])
        return image
