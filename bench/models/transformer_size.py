"""Parameters and operations of transformers between the ends that all networks share, by formula. No torch."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from bench.models.architecture import Architecture
from bench.models.block_options import Options

if TYPE_CHECKING:
    from bench.models.shape import Shape


class Transformers(Architecture):
    """Counts of :class:`bench.models.networks.transformer.Transformer` from those of its blocks, which subclasses give."""

    probed = True

    def __init__(self, options: Options) -> None:
        self.options = options

    @abstractmethod
    def modulations(self, depth: int) -> int:
        """adaLN's vectors of all blocks, and a shift and a scale of the output."""

    @abstractmethod
    def block_parameters(self, shape: Shape) -> int:
        """Parameters of all blocks, without the layer that makes adaLN's vectors."""

    @abstractmethod
    def block_products(self, shape: Shape) -> int:
        """Multiply-adds of all blocks on one sample."""

    def scales(self, shape: Shape, count: int) -> int:
        """Parameters of ``count`` scales of normalised queries or keys."""
        return count * (shape.width // shape.heads) if self.options.qk == "rms" else 0

    def parameters(self, shape: Shape) -> int:
        h = shape.width
        ends = linear(shape.patch_width, h) + linear(h, shape.patch_width) + reading_parameters(shape)
        return self.block_parameters(shape) + ends + linear(h, self.modulations(shape.depth) * h)

    def flops(self, shape: Shape) -> int:
        """Matrix products and attention."""
        h = shape.width
        ends = 2 * shape.image_tokens * shape.patch_width * h + reading_products(shape)
        return 2 * (self.block_products(shape) + ends + self.modulations(shape.depth) * h * h)

    def activations(self, shape: Shape) -> int:
        """24 a token and channel of a block, and attention."""
        tokens = shape.image_tokens + shape.text_length
        return shape.depth * (24 * tokens * shape.width + 2 * shape.heads * tokens**2)

    def recomputed(self, shape: Shape) -> int:
        """The tokens that go into every block, and all of one block."""
        inputs = (shape.image_tokens + shape.text_length) * shape.width
        return shape.depth * inputs + self.activations(shape) // shape.depth


def reading_parameters(shape: Shape) -> int:
    """Parameters of the layers that read text, time and pooled text."""
    h = shape.width
    return linear(shape.text_width, h) + linear(256, h) + linear(shape.pooled_width, h) + 2 * linear(h, h)


def reading_products(shape: Shape) -> int:
    """Multiply-adds of these layers."""
    h = shape.width
    return (shape.text_length * shape.text_width + 256 + shape.pooled_width + 2 * h) * h


def linear(width_in: int, width_out: int) -> int:
    """Parameters of a linear layer with bias."""
    return width_in * width_out + width_out
