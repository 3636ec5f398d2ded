"""What a network's attention does in a forward pass: its largest logit, and the entropy of its weights.

Figure 5 of arXiv 2403.03206 shows both while training: where queries and keys are not normalised, logits may grow until
attention looks at single tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

WATCHING: list[Callable[[Tensor, Tensor], None]] = []
"""What is called with the queries and keys of every attention."""
PROBED = 1 << 25
"""Attention weights that are looked at in one go."""


@contextmanager
def watched(members: int) -> Iterator[list[Tensor]]:
    """Within the block, :func:`probe` of every attention is added to the list that it gives."""
    found: list[Tensor] = []

    def watch(q: Tensor, k: Tensor) -> None:
        found.append(probe(q, k, members))

    WATCHING.append(watch)
    try:
        yield found
    finally:
        WATCHING.remove(watch)


def probe(q: Tensor, k: Tensor, members: int) -> Tensor:
    """The largest of the logits ``q k^T / sqrt(D)`` and the mean entropy of their softmax over keys, in nats, ``[E, 2]`` in
    float32, of queries ``[E B, heads, N, D]`` and keys ``[E B, heads, M, D]``."""
    at_once = max(1, PROBED // (q.shape[1] * q.shape[2] * k.shape[2]))
    largest, entropies = [], []
    for some, keys in zip(q.split(at_once), k.split(at_once), strict=True):
        with torch.autocast(q.device.type, enabled=False):
            logits = some.float() @ keys.float().mT * q.shape[-1] ** -0.5
        largest.append(logits.amax((1, 2, 3)))
        entropies.append(torch.special.entr(logits.softmax(-1)).sum(-1).mean((1, 2)))
    top, entropy = (torch.cat(parts).unflatten(0, (members, -1)) for parts in (largest, entropies))
    return torch.stack([top.amax(1), entropy.mean(1)], dim=-1)
