"""Networks with one stream of tokens, which differ in how it reads the text: their parameters and operations, by formula. No
torch.

With h the width, a block of the DiT has 18 h^2 parameters, one of PRX 20 h^2, one of the CrossDiT 22 h^2, of them 6 h^2 in
the layer that makes adaLN's vectors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.models.architecture import Architecture, register
from bench.models.block_options import OPTIONS, Options
from bench.models.transformer_size import Transformers, linear
from flowbench._core.errors import UserError, nearest

if TYPE_CHECKING:
    from bench.models.network import Network
    from bench.models.shape import Shape


class DiTs(Transformers):
    """One set of weights for all tokens (:mod:`bench.models.networks.dit`)."""

    version = "dit-1"

    def build(self, shape: Shape, members: int) -> Network:
        from bench.models.networks.dit import DiT

        return DiT(shape, members, self.options)

    def modulations(self, depth: int) -> int:
        return 6 * depth + 2

    def block_parameters(self, shape: Shape) -> int:
        h = shape.width
        layers = linear(h, 3 * h) + linear(h, h) + linear(h, 4 * h) + linear(4 * h, h)
        return shape.depth * (layers + self.scales(shape, 2))

    def block_products(self, shape: Shape) -> int:
        h, d, n, m = shape.width, shape.depth, shape.image_tokens, shape.text_length
        tokens = d * (n + m) * 3 * h * h + (d * n + (d - 1) * m) * (1 + 8) * h * h
        return tokens + d * 2 * (n + m) ** 2 * h


class PRXs(DiTs):
    """Image queries only (:mod:`bench.models.networks.prx`)."""

    version = "prx-1"

    def build(self, shape: Shape, members: int) -> Network:
        from bench.models.networks.prx import PRX

        return PRX(shape, members, self.options)

    def block_parameters(self, shape: Shape) -> int:
        h = shape.width
        return super().block_parameters(shape) + shape.depth * (linear(h, 2 * h) + self.scales(shape, 1))

    def block_products(self, shape: Shape) -> int:
        h, n, m = shape.width, shape.image_tokens, shape.text_length
        return shape.depth * (n * 12 * h * h + m * 2 * h * h + 2 * n * (n + m) * h)


class CrossDiTs(DiTs):
    """Cross-attention to the text (:mod:`bench.models.networks.crossdit`); ``single``: one layer makes adaLN's vectors for
    all blocks."""

    version = "crossdit-1"

    def __init__(self, options: Options, single: bool) -> None:
        super().__init__(options)
        self.single = single

    def build(self, shape: Shape, members: int) -> Network:
        from bench.models.networks.crossdit import CrossDiT

        return CrossDiT(shape, members, self.options, self.single)

    def modulations(self, depth: int) -> int:
        return 6 if self.single else super().modulations(depth)

    def block_parameters(self, shape: Shape) -> int:
        h, d = shape.width, shape.depth
        cross = linear(h, h) + linear(h, 2 * h) + linear(h, h) + self.scales(shape, 2)
        table = super().modulations(d) * h if self.single else 0
        return super().block_parameters(shape) + d * cross + table

    def block_products(self, shape: Shape) -> int:
        h, n, m = shape.width, shape.image_tokens, shape.text_length
        products = n * (12 + 2) * h * h + m * 2 * h * h
        return shape.depth * (products + 2 * n * (n + m) * h)


@register("dit(gelu,qk)")
def dit(gelu: str = OPTIONS.gelu, qk: str = OPTIONS.qk) -> Architecture:
    """One set of weights for image and text tokens, which attend to each other."""
    return DiTs(Options(gelu, qk))


@register("prx(gelu,qk)")
def prx(gelu: str = OPTIONS.gelu, qk: str = OPTIONS.qk) -> Architecture:
    """Image tokens attend to each other and to the text, which stays as it is."""
    return PRXs(Options(gelu, qk))


@register("crossdit(adaln,gelu,qk)")
def crossdit(adaln: str = "block", gelu: str = OPTIONS.gelu, qk: str = OPTIONS.qk) -> Architecture:
    """Image tokens attend to each other, then to the text."""
    known = ("block", "single")
    if adaln not in known:
        raise UserError(f"--model crossdit: adaln={adaln} is not known; {nearest(adaln, known)}")
    return CrossDiTs(Options(gelu, qk), adaln == "single")
