"""The two networks that are called U-ViT: their parameters and operations, by formula. No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.models.architecture import Architecture, register
from bench.models.block_options import OPTIONS, Options
from bench.models.block_sizes import CrossDiTs, DiTs
from bench.models.transformer_size import linear, reading_parameters, reading_products
from flowbench._core.errors import UserError

if TYPE_CHECKING:
    from bench.models.network import Network
    from bench.models.shape import Shape


class UViTs(CrossDiTs):
    """Convolutional levels around a transformer (:mod:`bench.models.networks.uvit`)."""

    version = "uvit-1"

    def __init__(self, options: Options, convs: int) -> None:
        super().__init__(options, single=False)
        self.convs = convs

    def check(self, shape: Shape) -> None:
        if shape.patch < 2 or shape.patch & (shape.patch - 1):
            raise UserError(
                f"--patch {shape.patch}: the network uvit halves the resolution once for each factor 2 of the patch: "
                f"choose 2 or 4"
            )
        if shape.width % (4 * shape.patch):
            nearest = max(1, round(shape.width / (4 * shape.patch))) * 4 * shape.patch
            raise UserError(
                f"--width {shape.width}: the network uvit has 1/{shape.patch} of it on its highest level, a multiple of "
                f"4: the nearest is --width {nearest}"
            )

    def build(self, shape: Shape, members: int) -> Network:
        from bench.models.networks.uvit import UViT

        return UViT(shape, members, self.options, self.convs)

    def parameters(self, shape: Shape) -> int:
        h, channels = shape.width, shape.channels
        levels, first = 0, h // shape.patch
        for width, _ in self.levels(shape):
            down = 2 * conv(width, width, 3)
            up = conv(2 * width, width, 3) + conv(width, width, 3) + conv(2 * width, width, 1)
            levels += self.convs * (down + up) + conv(width, 2 * width, 1) + conv(2 * width, width, 1)
        ends = conv(channels, first, 3) + conv(first, channels, 3) + reading_parameters(shape)
        return levels + self.block_parameters(shape) + ends + linear(h, self.vectors(shape))

    def flops(self, shape: Shape) -> int:
        """Matrix products, convolutions and attention."""
        levels, first = 0, shape.width // shape.patch
        for width, edge in self.levels(shape):
            levels += self.convs * edge**2 * (5 * 9 + 2) * width**2 + edge**2 // 4 * 4 * width**2
        ends = 2 * shape.resolution**2 * 9 * shape.channels * first + reading_products(shape)
        made = shape.width * self.vectors(shape)
        return 2 * (levels + self.block_products(shape) + ends + made)

    def activations(self, shape: Shape) -> int:
        """As of a transformer, and 14 a channel and place of two ResBlocks, one on each way."""
        return super().activations(shape) + 14 * self.convs * self.places(shape)

    def recomputed(self, shape: Shape) -> int:
        """As of a transformer, the inputs of ResBlocks, twice the channels on the way up, and all of the largest one."""
        largest = max(width * edge**2 for width, edge in self.levels(shape))
        low, inputs = super().activations(shape) // shape.depth, (shape.image_tokens + shape.text_length)
        return low + shape.depth * inputs * shape.width + 3 * self.convs * self.places(shape) + 8 * largest

    def places(self, shape: Shape) -> int:
        """Channels times places of all levels."""
        return sum(width * edge**2 for width, edge in self.levels(shape))

    def vectors(self, shape: Shape) -> int:
        """Numbers that modulate all blocks and the output."""
        films = 4 * self.convs * sum(width for width, _ in self.levels(shape)) + 2 * (
            shape.width // shape.patch
        )
        return films + 6 * shape.depth * shape.width

    def levels(self, shape: Shape) -> list[tuple[int, int]]:
        """Channels and edge of each convolutional level, the lowest resolution first."""
        count = shape.patch.bit_length() - 1
        return [(shape.width >> i, shape.side << i) for i in range(1, count + 1)]


class LongSkipViTs(DiTs):
    """Everything a token, and long skips (:mod:`bench.models.networks.uvit_bao`)."""

    version = "uvit_bao-1"

    def check(self, shape: Shape) -> None:
        if shape.depth % 2 == 0:
            raise UserError(
                f"--depth {shape.depth}: the network uvit_bao skips over the block in the middle, and needs an odd "
                f"depth: choose {shape.depth - 1} or {shape.depth + 1}"
            )

    def build(self, shape: Shape, members: int) -> Network:
        from bench.models.networks.uvit_bao import LongSkipViT

        return LongSkipViT(shape, members, self.options)

    def parameters(self, shape: Shape) -> int:
        h, c, half = shape.width, shape.channels, shape.depth // 2
        blocks = self.block_parameters(shape) + shape.depth * 4 * h + half * linear(2 * h, h)
        ends = linear(shape.patch_width, h) + 2 * h + linear(h, shape.patch_width) + conv(c, c, 3)
        return blocks + ends + reading_parameters(shape)

    def flops(self, shape: Shape) -> int:
        """Matrix products, attention and the last convolution."""
        h, n, half = shape.width, shape.image_tokens, shape.depth // 2
        tokens = n + shape.text_length + 1
        blocks = shape.depth * (12 * tokens * h * h + 2 * tokens**2 * h) + half * tokens * 2 * h * h
        ends = 2 * n * shape.patch_width * h + shape.resolution**2 * 9 * shape.channels**2
        return 2 * (blocks + ends + reading_products(shape))


def conv(width_in: int, width_out: int, kernel: int) -> int:
    """Parameters of a convolution with bias."""
    return width_in * width_out * kernel**2 + width_out


@register("uvit(convs,gelu,qk)")
def uvit(convs: int = 2, gelu: str = OPTIONS.gelu, qk: str = OPTIONS.qk) -> Architecture:
    """Convolutions where the resolution is high, a transformer where it is low."""
    if convs < 1:
        raise UserError(f"--model uvit: convs={convs} must be greater than 0")
    return UViTs(Options(gelu, qk), convs)


@register("uvit_bao(gelu,qk)")
def uvit_bao(gelu: str = OPTIONS.gelu, qk: str = OPTIONS.qk) -> Architecture:
    """Condition, text and image are tokens; the second half of the blocks reads the first half's outputs."""
    return LongSkipViTs(Options(gelu, qk))
