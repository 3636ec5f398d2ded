"""The parameter and FLOP counts of an MM-DiT, by formula (arXiv 2403.03206, section 4). No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.models.architecture import Architecture, register
from bench.models.block_options import OPTIONS, Options
from bench.models.transformer_size import Transformers, linear

if TYPE_CHECKING:
    from bench.models.network import Network
    from bench.models.shape import Shape


class MMDiTs(Transformers):
    """MM-DiT with one stream for the image and one for the text (:mod:`bench.models.mmdit`)."""

    version = "mmdit-2"

    def build(self, shape: Shape, members: int) -> Network:
        from bench.models.mmdit import MMDiT

        return MMDiT(shape, members, self.options)

    def modulations(self, depth: int) -> int:
        """12 a block, 8 for the last (its text ends early), 2 for the output."""
        return 12 * depth - 4 + 2

    def block_parameters(self, shape: Shape) -> int:
        h, d = shape.width, shape.depth
        streams = (2 * d - 1) * (linear(h, h) + linear(h, 4 * h) + linear(4 * h, h))
        return streams + 2 * d * (linear(h, 3 * h) + self.scales(shape, 2))

    def block_products(self, shape: Shape) -> int:
        h, d, n, m = shape.width, shape.depth, shape.image_tokens, shape.text_length
        image = d * n * (3 + 1 + 8) * h * h
        text = d * m * 3 * h * h + (d - 1) * m * (1 + 8) * h * h
        return image + text + d * 2 * (n + m) ** 2 * h


@register("mmdit(gelu,qk)")
def mmdit(gelu: str = OPTIONS.gelu, qk: str = OPTIONS.qk) -> Architecture:
    """Image and text streams, joined in the attention of every block."""
    return MMDiTs(Options(gelu, qk))
