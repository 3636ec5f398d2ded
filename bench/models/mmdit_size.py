"""The parameter and FLOP counts of an MM-DiT, by formula (arXiv 2403.03206, section 4). No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.models.architecture import Architecture, register
from bench.models.block_options import OPTIONS, Options

if TYPE_CHECKING:
    from bench.models.network import Network
    from bench.models.shape import Shape


class MMDiTs(Architecture):
    """MM-DiT with one stream for the image and one for the text (:mod:`bench.models.mmdit`)."""

    version = "mmdit-2"

    def __init__(self, options: Options) -> None:
        self.options = options

    def build(self, shape: Shape, members: int) -> Network:
        from bench.models.mmdit import MMDiT

        return MMDiT(shape, members, self.options)

    def parameters(self, shape: Shape) -> int:
        h, d = shape.width, shape.depth
        streams = 2 * d - 1
        scales = 2 * (h // shape.heads) if self.options.qk == "rms" else 0
        block = streams * (linear(h, h) + linear(h, 4 * h) + linear(4 * h, h)) + 2 * d * (
            linear(h, 3 * h) + scales
        )
        ends = linear(shape.patch_width, h) + linear(h, shape.patch_width) + linear(shape.text_width, h)
        condition = linear(256, h) + linear(shape.pooled_width, h) + 2 * linear(h, h)
        return block + ends + condition + linear(h, modulations(d) * h)

    def activations(self, shape: Shape) -> int:
        """24 a token and channel of a block, and attention."""
        tokens = shape.image_tokens + shape.text_length
        return shape.depth * (24 * tokens * shape.width + 2 * shape.heads * tokens**2)

    def recomputed(self, shape: Shape) -> int:
        """The tokens that go into every block, and all of one block."""
        inputs = (shape.image_tokens + shape.text_length) * shape.width
        return shape.depth * inputs + self.activations(shape) // shape.depth

    def flops(self, shape: Shape) -> int:
        """Matrix products and attention."""
        h, d, n, m = shape.width, shape.depth, shape.image_tokens, shape.text_length
        image = d * n * (3 + 1 + 8) * h * h
        text = d * m * 3 * h * h + (d - 1) * m * (1 + 8) * h * h
        attention = d * 2 * (n + m) ** 2 * h
        ends = 2 * n * shape.patch_width * h + m * shape.text_width * h
        condition = (256 + shape.pooled_width + 2 * h) * h + modulations(d) * h * h
        return 2 * (image + text + attention + ends + condition)


@register("mmdit(gelu,qk)")
def mmdit(gelu: str = OPTIONS.gelu, qk: str = OPTIONS.qk) -> Architecture:
    """Image and text streams, joined in the attention of every block."""
    return MMDiTs(Options(gelu, qk))


def modulations(depth: int) -> int:
    """Vectors of the model's width that adaLN supplies: 12 a block, 8 for the last (its text ends early), 2 for the head."""
    return 12 * depth - 4 + 2


def linear(width_in: int, width_out: int) -> int:
    """Parameters of a linear layer with bias."""
    return width_in * width_out + width_out
