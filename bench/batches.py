"""What every formulation of one seed sees at a step: the same images, captions, noise, u and dropped captions.

Everything a step draws comes from one generator seeded by (protocol, purpose, seed, step), so a step can be made again
at any time, and resuming needs no generator state.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench.data import Data
from bench.seeds import seed_for
from bench.text import Captions, drop

LEVELS = tuple((i + 0.5) / 8 for i in range(8))
"""Validation's noise levels on the clock ``s = b / (a + b)``: eight, equally spaced, away from the singular ends."""


class Batch(NamedTuple):
    """``x``, ``noise`` ``[B, C, H, W]``, ``tokens [B, L, text width]``, ``pooled [B, pooled width]``, all float32."""

    x: Tensor
    noise: Tensor
    tokens: Tensor
    pooled: Tensor


class Batches:
    """The training batches of one dataset and seed, addressed by step."""

    def __init__(
        self, data: Data, captions: Captions, seed: int, size: int, dropout: float, device: torch.device
    ):
        self.images = data.normalize(data.train.images).to(device)
        self.captions, self.rows = captions, captions.rows(data.train.captions).to(device)
        self.seed, self.size, self.dropout, self.device = seed, size, dropout, device
        self._order: tuple[int, np.ndarray] | None = None

    def at(self, step: int) -> Batch:
        """The batch of a step."""
        rows = torch.from_numpy(self.order(step)).to(self.device)
        generator = torch.Generator().manual_seed(seed_for("noise", self.seed, step))
        noise = torch.randn((self.size, *self.images.shape[1:]), generator=generator).to(self.device)
        dropped = (torch.rand(self.size, generator=generator) < self.dropout).to(self.device)
        tokens, pooled = drop(*self.captions[self.rows[rows]], dropped)
        return Batch(self.images[rows], noise, tokens, pooled)

    def u(self, step: int) -> Tensor:
        """Stratified uniforms ``[B]`` in (0, 1), float64: one in each of B equal strata, in random order."""
        generator = torch.Generator().manual_seed(seed_for("u", self.seed, step))
        strata = torch.randperm(self.size, generator=generator)
        return (strata + torch.rand(self.size, generator=generator, dtype=torch.float64)) / self.size

    def order(self, step: int) -> np.ndarray:
        """Indices ``[B]`` into the training images: epochs in a fresh order each, batches running across their ends."""
        count = len(self.images)
        places = np.arange(step * self.size, (step + 1) * self.size)
        return np.array([self._epoch(int(p) // count)[int(p) % count] for p in places])

    def _epoch(self, epoch: int) -> np.ndarray:
        if self._order is None or self._order[0] != epoch:
            rng = np.random.default_rng(seed_for("order", self.seed, epoch))
            self._order = (epoch, rng.permutation(len(self.images)))
        return self._order[1]


def validation_batch(
    data: Data, captions: Captions, count: int, device: torch.device
) -> tuple[Batch, Tensor]:
    """``count`` validation samples with fixed noise, and the clock ``[B]`` of each: sample i is at level i mod 8.

    The same for every formulation and every seed. If the split has fewer images they are repeated with other noise.
    """
    split = data.validation
    chosen = np.arange(count) % len(split.images)
    generator = torch.Generator().manual_seed(seed_for("validation", data.name))
    images = data.normalize(split.images[chosen])
    noise = torch.randn(images.shape, generator=generator)
    rows = captions.rows([split.captions[i] for i in chosen]).to(device)
    levels = torch.tensor(LEVELS, dtype=torch.float64).repeat(count // 8)
    tokens, pooled = captions[rows]
    return Batch(images.to(device), noise.to(device), tokens, pooled), levels
