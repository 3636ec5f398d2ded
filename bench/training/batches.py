"""What every formulation of one seed sees at a step: the same images, captions, noise, u and dropped captions.

Everything a step draws comes from one generator seeded by (protocol, purpose, seed, step), so a step can be made again
at any time, and resuming needs no generator state.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench.config.seeds import seed_for
from bench.data import Dataset
from bench.data.caption_mix import picked
from bench.encoders.text import Captions, drop
from bench.machine.resident import moved
from bench.objectives import Batch
from bench.training.image_order import ImageOrder
from bench.training.inputs import Inputs, normal
from bench.training.replicas import ALONE, Replicas
from formulations import Coeffs

LEVELS = tuple((i + 0.5) / 8 for i in range(8))
"""Validation's noise levels on the clock ``s = b / (a + b)``: eight, equally spaced, away from the singular ends."""

CHUNK = {"cpu": 256, "cuda": 4096}
"""Samples of all members together in one evaluation of the network; no result depends on it beyond float rounding."""


class Draws(NamedTuple):
    """What several steps draw, on the device: of ``inputs`` row numbers ``[S, B]`` where all are kept there, else themselves
    (:meth:`bench.training.inputs.Inputs.drawn`); of ``captions`` row numbers ``[S, B]`` or what is read of them, likewise
    (:meth:`bench.encoders.text.Captions.drawn`); ``noise [S, B, C, H, W]``; ``dropped [S, B, K]`` for each of the K networks
    that encode captions."""

    inputs: tuple[Tensor, ...]
    captions: tuple[Tensor, ...]
    noise: Tensor
    dropped: Tensor


class Batches:
    """The training batches of one dataset and seed, addressed by step. Captions, and inputs that fit, stay on the device.

    All of a batch is drawn, and one of several ``replicas`` keeps its rows ``part``: B are then those.
    """

    def __init__(
        self,
        data: Dataset,
        captions: Captions,
        seed: int,
        size: int,
        dropout: float,
        device: torch.device,
        drop_encoders: float = 0.0,
        replicas: Replicas = ALONE,
    ):
        self.split = data.train
        self.inputs = Inputs(data.train, seed, size, device, replicas)
        self.captions, self.rows = captions, captions.rows(data.train.texts())
        self.counts = np.array([len(several) for several in data.train.every()])
        self.starts = np.cumsum(self.counts) - self.counts
        self.seed, self.size, self.device = seed, size, device
        self.dropout, self.drop_encoders = dropout, drop_encoders
        self.replicas, self.part = replicas, replicas.rows(size)
        self.images = ImageOrder(seed, len(data.train))

    @property
    def step_bytes(self) -> int:
        """Bytes of the noise of one step, of what its inputs draw, and of its captions if they are not on the device."""
        each = 4 * math.prod(self.split.shape) + self.inputs.drawn_bytes + self.captions.read_bytes
        return self.size // self.replicas.count * each

    def at(self, step: int) -> Batch:
        """The batch of a step."""
        return self.look_up(self.draw(range(step, step + 1)), 0)

    def draw(self, steps: range) -> Draws:
        """Everything that ``steps`` draw, moved to the device without waiting for it."""
        images, rows = (
            np.stack(parts)[:, self.part]
            for parts in zip(*((self.order(step), self.texts(step)) for step in steps), strict=True)
        )
        noise = torch.empty(*images.shape, *self.split.shape)
        dropped = torch.empty(*images.shape, len(self.captions.parts), dtype=torch.bool)
        for i, step in enumerate(steps):
            generator = normal("noise", self.seed, step, self.size, self.replicas, noise[i])
            dropped[i] = self._dropped(generator)[self.part]
        inputs, captions = (
            tuple(moved(part, self.device) for part in parts)
            for parts in (
                self.inputs.drawn(images, steps),
                self.captions.drawn(self.rows[torch.from_numpy(rows)]),
            )
        )
        return Draws(inputs, captions, moved(noise, self.device), moved(dropped, self.device))

    def _dropped(self, generator: torch.Generator) -> Tensor:
        """What is dropped of each caption of the whole batch ``[B, K]``: all of it, or networks on their own."""
        whole = torch.rand(self.size, generator=generator) < self.dropout
        own = torch.rand(self.size, len(self.captions.parts), generator=generator) < self.drop_encoders
        return whole[:, None] | own

    def look_up(self, draws: Draws, index: int) -> Batch:
        """The batch of the step at ``index`` of ``draws``."""
        x = self.inputs.looked_up(*(part[index] for part in draws.inputs))
        text = self.captions.looked_up(*(part[index] for part in draws.captions))
        tokens, pooled = drop(*text, self.captions.parts, draws.dropped[index], self.captions.nothing)
        return Batch(x, draws.noise[index], tokens, pooled)

    def u(self, step: int) -> Tensor:
        """Stratified uniforms of the whole batch in (0, 1), float64: one in each of as many equal strata, in random
        order."""
        generator = torch.Generator().manual_seed(seed_for("u", self.seed, step))
        strata = torch.randperm(self.size, generator=generator)
        return (strata + torch.rand(self.size, generator=generator, dtype=torch.float64)) / self.size

    def order(self, step: int) -> np.ndarray:
        """The whole batch as indices into the training images: epochs in a fresh order each, batches running across their
        ends."""
        return self.images.at(range(step * self.size, (step + 1) * self.size))

    def texts(self, step: int) -> np.ndarray:
        """The same into the captions of all training images: of an image with several, each step draws one."""
        images = self.order(step)
        uniform = np.random.default_rng(seed_for("caption", self.seed, step)).random(self.size)
        chosen: np.ndarray = self.starts[images] + picked(uniform, self.counts[images], self.split.mix)
        return chosen


def micro_batches(batch: Batch, c: Coeffs, count: int) -> Iterator[tuple[Batch, Coeffs]]:
    """``count`` equal parts of a batch and of its coefficients ``[E, B]``, in its order."""
    samples = zip(*(part.chunk(count) for part in batch), strict=True)
    scalars = zip(*(part.chunk(count, 1) for part in c), strict=True)
    for some, k in zip(samples, scalars, strict=True):
        yield Batch(*some), Coeffs(*k)


def validation_batch(
    data: Dataset, captions: Captions, count: int, device: torch.device
) -> tuple[Batch, Tensor]:
    """``count`` validation samples with fixed noise, and the clock ``[B]`` of each: sample i is at level i mod 8.

    The same for every formulation and every seed. If the split has fewer images they are repeated with other noise.
    """
    split = data.validation
    chosen = np.arange(count) % len(split)
    generator = torch.Generator().manual_seed(seed_for("validation", data.name))
    inputs = split.batch(chosen)
    noise = torch.randn(inputs.shape, generator=generator)
    rows = captions.rows([split.captions[i] for i in chosen])
    levels = torch.tensor(LEVELS, dtype=torch.float64).repeat(count // 8)
    tokens, pooled = captions[rows]
    return Batch(inputs.to(device), noise.to(device), tokens, pooled), levels


def chunk(device: torch.device, members: int) -> int:
    """Samples of each member in one evaluation: as many as fill the caches of a CPU or the cores of a GPU."""
    return max(1, CHUNK.get(device.type, CHUNK["cpu"]) // members)
