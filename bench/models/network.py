"""The base class of networks; the contract is in :mod:`bench.models.architecture`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

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
        blocks: Iterable[Callable[..., Any]] | None = None,
    ) -> Tensor:
        """The output ``[E, B, C, H, W]``; ``blocks`` are to be called instead of the network's own."""

    def probe(self, x: Tensor, clock: Tensor, tokens: Tensor, pooled: Tensor) -> Tensor:
        """Of each block the largest attention logit and the mean entropy of attention, in nats, ``[E, blocks, 2]``; of an
        architecture that is ``probed``."""
        raise NotImplementedError

    @abstractmethod
    def initialise(self, generator: torch.Generator) -> None:
        """Give every member the same start."""
