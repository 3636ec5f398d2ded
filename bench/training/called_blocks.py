"""How training calls the blocks of a network: compiled one by one, and computed again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from bench.models.network import Network

SHAPES = 64
"""Most kinds of blocks with compiled code kept: packs of several sizes, datasets with captions of several lengths."""


def called(model: Network, compiled: bool, recompute: bool) -> Callable[..., Tensor]:
    """The model as training calls it. Neither changes a result beyond float rounding.

    Compiled, equal blocks share their code, so depth costs no compilation; a model that names no blocks is compiled as a
    whole. With ``recompute`` the backward pass keeps only what goes into each block, and computes the rest of it again when
    it comes there (activation checkpointing, Chen et al. 2016, arXiv 1604.06174).
    """
    blocks: Iterable[Callable[..., Any]] = model.blocks
    if compiled:
        import torch._dynamo  # a second that only compiling needs

        torch._dynamo.config.cache_size_limit = SHAPES
        if not len(model.blocks):
            whole: Callable[..., Tensor] = torch.compile(model, dynamic=False)
            return whole
        blocks = [torch.compile(block, dynamic=False, fullgraph=True) for block in model.blocks]
    if recompute:  # nothing random is drawn in a forward pass
        blocks = [
            partial(checkpoint, block, use_reentrant=False, preserve_rng_state=False) for block in blocks
        ]
    return partial(model, blocks=blocks) if compiled or recompute else model
