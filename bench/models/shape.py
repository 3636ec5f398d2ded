"""The size of an MM-DiT, with its parameter and FLOP counts by formula. No torch."""

from __future__ import annotations

from dataclasses import dataclass

ARCHITECTURE = "mmdit-2"
"""The network of this version: cells that were trained with another are neither measured nor ranked beside its own."""


@dataclass(frozen=True)
class Shape:
    """Everything that fixes the arrays of an MM-DiT (arXiv 2403.03206, section 4: width 64 depth, heads = depth)."""

    depth: int
    width: int
    heads: int
    patch: int
    resolution: int
    channels: int
    text_length: int
    text_width: int
    pooled_width: int

    @property
    def side(self) -> int:
        """Patches along one edge of the image."""
        return self.resolution // self.patch

    @property
    def image_tokens(self) -> int:
        """Tokens of the image stream."""
        return self.side**2

    @property
    def patch_width(self) -> int:
        """Numbers in one patch."""
        return self.channels * self.patch**2

    @property
    def modulations(self) -> int:
        """Vectors of width ``h`` that adaLN supplies: 12 a block, 8 for the last (its text ends early), 2 for the head."""
        return 12 * self.depth - 4 + 2

    def parameters(self) -> int:
        """Parameters of one member."""
        h, d = self.width, self.depth
        streams = 2 * d - 1
        block = streams * (linear(h, h) + linear(h, 4 * h) + linear(4 * h, h)) + 2 * d * (
            linear(h, 3 * h) + 2 * (h // self.heads)
        )
        ends = linear(self.patch_width, h) + linear(h, self.patch_width) + linear(self.text_width, h)
        condition = linear(256, h) + linear(self.pooled_width, h) + 2 * linear(h, h)
        return block + ends + condition + linear(h, self.modulations * h)

    def activations(self) -> int:
        """Numbers of one sample that the backward pass keeps, about: 24 a token and channel of a block, and attention."""
        tokens = self.image_tokens + self.text_length
        return self.depth * (24 * tokens * self.width + 2 * self.heads * tokens**2)

    def parameter_bytes(self, copies: float) -> float:
        """Bytes of all numbers that training keeps of a member's parameters, ``copies`` of them the optimiser's state: seven
        more are weights, gradients twice, EMA, the best EMA and the best weights so far, and weights put aside."""
        return 4.0 * (7 + copies) * self.parameters()

    def training_bytes(self, batch: int, copies: float) -> float:
        """Bytes that training a member takes, about: :meth:`parameter_bytes`, and what the backward pass keeps."""
        return self.parameter_bytes(copies) + 4.0 * batch * self.activations()

    def flops(self, batch: int = 1) -> int:
        """Multiply-adds times two of one member's forward pass on ``batch`` samples: matrix products and attention.

        A training step costs three times as much.
        """
        h, d, n, m = self.width, self.depth, self.image_tokens, self.text_length
        image = d * n * (3 + 1 + 8) * h * h
        text = d * m * 3 * h * h + (d - 1) * m * (1 + 8) * h * h
        attention = d * 2 * (n + m) ** 2 * h
        ends = 2 * n * self.patch_width * h + m * self.text_width * h
        condition = (256 + self.pooled_width + 2 * h) * h + self.modulations * h * h
        return 2 * batch * (image + text + attention + ends + condition)


def linear(width_in: int, width_out: int) -> int:
    """Parameters of a linear layer with bias."""
    return width_in * width_out + width_out
