"""The parameter and FLOP counts of an MM-DiT, by formula (arXiv 2403.03206, section 4). No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.models.architecture import Architecture, register
from bench.models.block_options import OPTIONS, Options
from bench.models.transformer_size import Transformers, linear
from flowbench._core.errors import UserError

if TYPE_CHECKING:
    from bench.models.network import Network
    from bench.models.shape import Shape


class MMDiTs(Transformers):
    """MM-DiT with a stream for the image, and one (:mod:`bench.models.networks.mmdit`) or two
    (:mod:`bench.models.networks.mmdit_triple`) for text."""

    version = "mmdit-2"

    def __init__(self, options: Options, sets: int = 2) -> None:
        super().__init__(options)
        self.text_sets = sets - 1

    def build(self, shape: Shape, members: int) -> Network:
        if self.text_sets == 2:
            from bench.models.networks.mmdit_triple import TripleMMDiT

            return TripleMMDiT(shape, members, self.options)
        from bench.models.networks.mmdit import MMDiT

        return MMDiT(shape, members, self.options)

    def modulations(self, depth: int) -> int:
        """6 a block and set, 2 for a text's last (it ends early), 2 for the output."""
        return 6 * depth + self.text_sets * (6 * depth - 4) + 2

    def block_parameters(self, shape: Shape) -> int:
        h, d, texts = shape.width, shape.depth, self.text_sets
        streams = (d + texts * (d - 1)) * (linear(h, h) + linear(h, 4 * h) + linear(4 * h, h))
        return streams + (1 + texts) * d * (linear(h, 3 * h) + self.scales(shape, 2))

    def block_products(self, shape: Shape) -> int:
        h, d, n, m = shape.width, shape.depth, shape.image_tokens, shape.text_length
        image = d * n * (3 + 1 + 8) * h * h
        text = d * m * 3 * h * h + (d - 1) * m * (1 + 8) * h * h
        return image + text + d * 2 * (n + m) ** 2 * h


@register("mmdit(gelu,qk,sets)")
def mmdit(gelu: str = OPTIONS.gelu, qk: str = OPTIONS.qk, sets: int = 2) -> Architecture:
    """Image and text streams, joined in the attention of every block."""
    if sets not in (2, 3):
        raise UserError(
            f"--model mmdit: sets={sets} is not known; known: 2 (image, text), 3 (image, CLIP, T5)"
        )
    return MMDiTs(Options(gelu, qk), sets)
