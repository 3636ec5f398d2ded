"""What every formulation of one seed sees at a step: the same images, captions, noise, u and dropped captions.

Everything a step draws comes from one generator seeded by (protocol, purpose, seed, step), so a step can be made again
at any time, and resuming needs no generator state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench.config.seeds import seed_for
from bench.data import Data
from bench.encoders.text import Captions, drop

LEVELS = tuple((i + 0.5) / 8 for i in range(8))
"""Validation's noise levels on the clock ``s = b / (a + b)``: eight, equally spaced, away from the singular ends."""

CHUNK = {"cpu": 256, "cuda": 4096}
"""Samples of all members together in one evaluation of the network; no result depends on it beyond float rounding."""


class Batch(NamedTuple):
    """``x``, ``noise`` ``[B, C, H, W]``, ``tokens [B, L, text width]``, ``pooled [B, pooled width]``, all float32."""

    x: Tensor
    noise: Tensor
    tokens: Tensor
    pooled: Tensor


class Draws(NamedTuple):
    """What several steps draw, on the device: ``images`` and ``captions`` ``[S, B]`` row numbers, ``noise [S, B, C, H, W]``,
    ``dropped [S, B]``."""

    images: Tensor
    captions: Tensor
    noise: Tensor
    dropped: Tensor


class Batches:
    """The training batches of one dataset and seed, addressed by step. Images and captions stay on the device."""

    def __init__(
        self, data: Data, captions: Captions, seed: int, size: int, dropout: float, device: torch.device
    ):
        self.images = data.normalize(data.train.images).to(device)
        self.captions, self.rows = captions, captions.rows(data.train.texts())
        self.counts = np.array([len(several) for several in data.train.every()])
        self.starts = np.cumsum(self.counts) - self.counts
        self.seed, self.size, self.dropout, self.device = seed, size, dropout, device
        self._order: tuple[int, np.ndarray, np.ndarray] | None = None

    @property
    def noise_bytes(self) -> int:
        """Bytes of the noise of one step."""
        return 4 * self.size * self.images[0].numel()

    def at(self, step: int) -> Batch:
        """The batch of a step."""
        return self.look_up(self.draw(range(step, step + 1)), 0)

    def draw(self, steps: range) -> Draws:
        """Everything that ``steps`` draw, moved to the device without waiting for it."""
        images, rows = (
            torch.from_numpy(np.stack(parts))
            for parts in zip(*((self.order(step), self.texts(step)) for step in steps), strict=True)
        )
        noise = torch.empty(len(steps), self.size, *self.images.shape[1:])
        dropped = torch.empty(len(steps), self.size, dtype=torch.bool)
        for i, step in enumerate(steps):
            generator = torch.Generator().manual_seed(seed_for("noise", self.seed, step))
            torch.randn(noise.shape[1:], generator=generator, out=noise[i])
            dropped[i] = torch.rand(self.size, generator=generator) < self.dropout
        return Draws(*(moved(part, self.device) for part in (images, self.rows[rows], noise, dropped)))

    def look_up(self, draws: Draws, index: int) -> Batch:
        """The batch of the step at ``index`` of ``draws``."""
        images, captions, noise, dropped = (part[index] for part in draws)
        tokens, pooled = drop(*self.captions[captions], dropped)
        return Batch(self.images[images], noise, tokens, pooled)

    def u(self, step: int) -> Tensor:
        """Stratified uniforms ``[B]`` in (0, 1), float64: one in each of B equal strata, in random order."""
        generator = torch.Generator().manual_seed(seed_for("u", self.seed, step))
        strata = torch.randperm(self.size, generator=generator)
        return (strata + torch.rand(self.size, generator=generator, dtype=torch.float64)) / self.size

    def order(self, step: int) -> np.ndarray:
        """Indices ``[B]`` into the training images: epochs in a fresh order each, batches running across their ends."""
        return self._walk(step, lambda order, text: order)

    def texts(self, step: int) -> np.ndarray:
        """Indices ``[B]`` into the captions of all training images: of an image with several, one is drawn each epoch."""
        return self._walk(step, lambda order, text: text[order])

    def _walk(self, step: int, take: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        epoch, place = divmod(np.arange(step * self.size, (step + 1) * self.size), len(self.images))
        return np.concatenate([take(*self._epoch(int(e)))[place[epoch == e]] for e in np.unique(epoch)])

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The order of the images in an epoch, and the caption of each image."""
        known = self._order  # read once: a thread may draw ahead
        if known is None or known[0] != epoch:
            order = np.random.default_rng(seed_for("order", self.seed, epoch)).permutation(len(self.images))
            drawn = np.random.default_rng(seed_for("caption", self.seed, epoch)).random(len(self.images))
            known = self._order = (epoch, order, self.starts + (drawn * self.counts).astype(int))
        return known[1], known[2]


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor`` on the device; to a GPU from pinned memory, so that the copy waits for nothing."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


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


def chunk(device: torch.device, members: int) -> int:
    """Samples of each member in one evaluation: as many as fill the caches of a CPU or the cores of a GPU."""
    return max(1, CHUNK.get(device.type, CHUNK["cpu"]) // members)
