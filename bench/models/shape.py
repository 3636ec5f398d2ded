"""What fixes the arrays of a network: its architecture, its size, and the sizes of images and captions. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.models.architecture import Architecture, get
from flowbench._core.errors import UserError

if TYPE_CHECKING:
    from bench.config.experiment import Model
    from bench.encoders.text import Captions
    from bench.models.network import Network


@dataclass(frozen=True)
class Shape:
    """``architecture`` names a network as ``--model`` does; what it makes of the other sizes is its own affair."""

    depth: int
    width: int
    heads: int
    patch: int
    resolution: int
    channels: int
    text_length: int
    text_width: int
    pooled_width: int
    architecture: str = "mmdit"
    first_text: int = 0
    """Text tokens of the first of two sets, such as CLIP's before T5's; 0 where it is not known or there is one."""

    @classmethod
    def of(cls, model: Model, inputs: tuple[int, int, int], captions: Captions) -> Shape:
        """The shape of a configured model for inputs ``(channels, side, side)`` and encoded captions."""
        channels, side, _ = inputs
        sizes, ends = (channels, *captions.sizes), sorted({part.tokens[1] for part in captions.parts})
        first = ends[0] if len(ends) == 2 else 0
        if get(model.architecture).text_sets == 2 and not first:
            raise UserError(
                f"the network {model.architecture} is for two sets of text tokens, and these captions have {len(ends)}"
            )
        return cls(model.depth, *model.sizes, model.patch, side, *sizes, model.architecture, first)

    @property
    def side(self) -> int:
        """Patches along one edge of the image."""
        return self.resolution // self.patch

    @property
    def image_tokens(self) -> int:
        """Patches of an image."""
        return self.side**2

    @property
    def patch_width(self) -> int:
        """Numbers in one patch."""
        return self.channels * self.patch**2

    @property
    def kind(self) -> Architecture:
        """The architecture that the shape names."""
        return get(self.architecture)

    def build(self, members: int = 1) -> Network:
        """``members`` networks in one (:class:`bench.models.architecture.Architecture.build`)."""
        return self.kind.build(self, members)

    def parameters(self) -> int:
        """Parameters of one member."""
        return self.kind.parameters(self)

    def activations(self, recompute: bool = False) -> int:
        """Numbers of one sample that the backward pass keeps, about; with ``recompute`` those of blocks that are computed
        again. Raises :class:`UserError` for a network without blocks."""
        if not recompute:
            return self.kind.activations(self)
        if (found := self.kind.recomputed(self)) is None:
            raise UserError(
                f"--recompute blocks: the network {self.architecture} declares no blocks to compute again: leave it out"
            )
        return found

    def parameter_bytes(self, copies: float, shards: int = 1) -> float:
        """Bytes of all numbers that training keeps of a member's parameters, ``copies`` of them the optimiser's state: seven
        more are weights, gradients twice, EMA, the best EMA and the best weights so far, and weights put aside. In one of as
        many ``shards``."""
        return 4.0 * (7 + copies) * self.parameters() / shards

    def training_bytes(self, batch: int, copies: float, recompute: bool = False, shards: int = 1) -> float:
        """Bytes that training a member takes, about: :meth:`parameter_bytes`, what the backward pass keeps, and of divided
        parameters the layers that are gathered at a time, with their gradients: of a transformer most in the one that makes
        all blocks' adaLN vectors, a third of all."""
        gathered = 4.0 * self.parameters() if shards > 1 else 0.0
        return self.parameter_bytes(copies, shards) + gathered + 4.0 * batch * self.activations(recompute)

    def flops(self, batch: int = 1) -> int:
        """Multiply-adds times two of one member's forward pass on ``batch`` samples. A training step costs three times as
        much."""
        return batch * self.kind.flops(self)
