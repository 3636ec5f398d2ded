"""Ordinary modules as an architecture. No torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from bench.models.architecture import Architecture

if TYPE_CHECKING:
    from torch import nn

    from bench.models.network import Network
    from bench.models.shape import Shape


class Plain(Architecture):
    """An architecture of ordinary modules: ``make(shape)`` gives one member's. Counted on torch's meta device, and
    trained as E members by ``torch.func.vmap``, so a forward pass may not draw random numbers."""

    def __init__(self, make: Callable[[Shape], nn.Module], version: str = "1") -> None:
        self.make, self.version = make, version
        self._counts = cache(self._counted)

    def build(self, shape: Shape, members: int) -> Network:
        from bench.models.stacked import Stacked  # imports torch

        return Stacked(self.make, shape, members)

    def parameters(self, shape: Shape) -> int:
        return self._counts(shape)[0]

    def activations(self, shape: Shape) -> int:
        return self._counts(shape)[1]

    def flops(self, shape: Shape) -> int:
        return self._counts(shape)[2]

    def _counted(self, shape: Shape) -> tuple[int, int, int]:
        from bench.models.stacked import count  # imports torch

        return count(self.make, shape)
