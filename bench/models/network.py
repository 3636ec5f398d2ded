"""The base class of networks; the contract is in :mod:`bench.models.architecture`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Network(nn.Module):
    """``members`` independent networks, whose parameters are ``[E, ...]``; ``blocks`` are compiled one by one."""

    members: int
    blocks: nn.ModuleList

    @abstractmethod
    def forward(
        self,
        x: Tensor,
        clock: Tensor,
        tokens: Tensor,
        pooled: Tensor,
        blocks: Iterable[nn.Module] | None = None,
    ) -> Tensor:
        """The output ``[E, B, C, H, W]``; ``blocks`` are to be called instead of the network's own."""

    @abstractmethod
    def initialise(self, generator: torch.Generator) -> None:
        """Give every member the same start."""
