"""The inputs of a step's images: kept on the device where they fit, drawn anew at each step where they are distributions.

x = mean + deviation eps        eps ~ N(0, 1) by the step's seed, the same for every formulation
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.config.seeds import seed_for
from bench.data import Split
from bench.data.dataset import chunks
from bench.machine.resident import resident_bytes
from bench.training.replicas import ALONE, Replicas


def normal(purpose: str, seed: int, step: int, size: int, replicas: Replicas, out: Tensor) -> torch.Generator:
    """Fill ``out [B, ...]`` with a replica's rows of what a step draws for its whole batch of ``size``; return the generator
    after it."""
    generator = torch.Generator().manual_seed(seed_for(purpose, seed, step))
    whole = out if replicas.count == 1 else torch.empty(size, *out.shape[1:])
    torch.randn(whole.shape, generator=generator, out=whole)
    if replicas.count > 1:
        out.copy_(whole[replicas.rows(size)])
    return generator


class Inputs:
    """The inputs of a split's images. ``kept`` are those of all on the device, and their deviations if they have any; None
    if they are too many."""

    def __init__(
        self, split: Split, seed: int, size: int, device: torch.device, replicas: Replicas = ALONE
    ) -> None:
        self.split, self.seed, self.size, self.replicas = split, seed, size, replicas
        self.kept = kept(split, device)

    @property
    def drawn_bytes(self) -> int:
        """Bytes of an image's draw."""
        return 0 if self.split.deviations is None else 4 * math.prod(self.split.shape)

    def drawn(self, rows: NDArray[np.int64], steps: range) -> tuple[Tensor, ...]:
        """What :meth:`looked_up` needs of images ``[S, B]``, one row of tensors for each step, on the host."""
        found = (torch.from_numpy(rows),)
        if self.kept is None:
            found = (self.split.batch(rows.ravel()).unflatten(0, rows.shape),)
        if self.split.deviations is None:
            return found
        eps = torch.empty(*rows.shape, *self.split.shape)
        for i, step in enumerate(steps):
            normal("posterior", self.seed, step, self.size, self.replicas, eps[i])
        if self.kept is not None:
            return *found, eps
        return (torch.addcmul(found[0], self.split.spread(rows.ravel()).unflatten(0, rows.shape), eps),)

    def looked_up(self, drawn: Tensor, eps: Tensor | None = None) -> Tensor:
        """Inputs ``[B, C, H, W]`` on the device, of a row of :meth:`drawn` there."""
        if self.kept is None:
            return drawn
        found = self.kept[0][drawn]
        return found if eps is None else torch.addcmul(found, self.kept[1][drawn], eps)


def kept(split: Split, device: torch.device) -> tuple[Tensor, ...] | None:
    """All inputs of a split on the device, and their deviations; None if they are too many to be kept there."""
    read = [split.batch] if split.deviations is None else [split.batch, split.spread]
    if len(read) * 4 * len(split) * math.prod(split.shape) > resident_bytes(device):
        return None
    found = tuple(torch.empty(len(split), *split.shape, device=device) for _ in read)
    for rows in chunks(split.stored):
        for whole, part in zip(found, read, strict=True):
            whole[int(rows[0]) : int(rows[-1]) + 1] = part(rows)
    return found
