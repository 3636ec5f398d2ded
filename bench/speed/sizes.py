"""The sizes of models, a training step of ours and of a peer's at such a size, and what a run of the benchmark measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.config.experiment import Training
from bench.machine.matmul import autocast
from bench.models.shape import Shape
from bench.training.trainer import Trainer
from bench.training.tuning import inputs

REPEATS = {"generate": 3, "metrics": 3, "data": 3, "threads": 9}
"""Alternations of every pair of the parts with slow pairs; 15 of the others."""
EMA = 1e-3
"""The part of the weights that a peer's EMA takes over in a step."""


@dataclass(frozen=True)
class Size:
    """A model, a batch and a precision, by a short name for ``--sizes``."""

    name: str
    shape: Shape
    batch: int
    precision: Literal["float32", "bf16"] = "float32"
    needs_gpu: bool = False

    def __str__(self) -> str:
        s, bf16 = self.shape, ", bf16" * (self.precision == "bf16")
        tokens = f"{s.image_tokens} + {s.text_length} tokens"
        return f"depth {s.depth}, width {s.width}, {tokens}, batch {self.batch}{bf16}"

    @property
    def recipe(self) -> Training:
        """The training recipe of a step."""
        return Training(batch=self.batch, precision=self.precision)

    @property
    def flops(self) -> int:
        """Operations of a training step of one member: forward and, for twice as many, backward."""
        return 3 * self.shape.flops(self.batch)

    def changed(self, **shape: Any) -> Size:
        """The same with other fields of the shape."""
        return replace(self, shape=replace(self.shape, **shape))


def big(depth: int) -> Size:
    """The study's proportions (width 64 depth, heads = depth) on latents of 256 px: for a GPU."""
    return Size(f"d{depth}", Shape(depth, 64 * depth, depth, 2, 32, 16, 154, 4096, 2048), 16, "bf16", True)


SIZES = {
    size.name: size
    for size in (
        Size("d2-16", Shape(2, 128, 2, 4, 16, 3, 12, 96, 64), 32),
        Size("d2-64", Shape(2, 128, 2, 2, 16, 3, 12, 96, 64), 32),
        Size("d4-64", Shape(4, 256, 4, 2, 16, 3, 16, 96, 64), 16),
        big(12),
        big(18),
    )
}
"""What ``--sizes`` chooses from."""
QUICK = Size("quick", Shape(3, 64, 1, 4, 16, 3, 12, 96, 64), 8)
"""The size of the preset ``quick``."""
TINY = Size("tiny", Shape(1, 32, 1, 4, 16, 3, 4, 16, 8), 4)
"""The size of ``--tiny``: it shows that a part runs, and measures nothing."""


@dataclass(frozen=True)
class Scope:
    """What is measured, where and how often; ``part`` is the one that runs."""

    parts: tuple[str, ...]
    device: torch.device
    sizes: tuple[Size, ...]
    members: tuple[int, ...]
    presets: tuple[str, ...]
    compiled: bool = True
    tiny: bool = False
    paper_steps: int | None = None
    repeats: int | None = None
    json: Path | None = None
    part: str = ""
    checks: bool = False
    """Whether the checks of a GPU are asked for instead of parts."""

    @property
    def gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"

    @property
    def turns(self) -> int:
        """Alternations of every pair."""
        return self.repeats or (1 if self.tiny else REPEATS.get(self.part, 15))

    @property
    def calls(self) -> int:
        """Steps of one timing: on a GPU enough of them to keep its queue filled."""
        return 10 if self.gpu else 1

    @property
    def quick(self) -> Size:
        """The size of the preset ``quick``, or a tiny one."""
        return TINY if self.tiny else QUICK

    def fitting(self) -> Iterator[Size]:
        """The sizes that this device can take; a line is printed for each of the others."""
        for size in self.sizes:
            if size.needs_gpu and not self.gpu:
                print(f"{self.part}: {size.name} ({size}) needs a GPU: left out")
            else:
                yield size


def our_step(
    size: Size, members: int, device: torch.device, compiled: bool = False, recompute: bool = False
) -> Callable[[], None]:
    """A whole training step of our model."""
    trainer = Trainer(size.shape, members, size.recipe, device, compiled=compiled, recompute=recompute)
    batch, coeffs = inputs(size.shape, members, size.batch, device)
    index = 0

    def step() -> None:
        nonlocal index
        trainer.step(index % trainer.recipe.steps, batch, coeffs)
        index += 1

    return step


def peer_step(
    model: nn.Module, size: Size, device: torch.device, compiled: bool = False
) -> Callable[[], None]:
    """A whole training step of a peer's model on the same batch: rectified flow, mean squared error of the velocity."""
    recipe = size.recipe
    mode = "reduce-overhead" if device.type == "cuda" else "default"  # on a GPU with CUDA graphs, as ours
    network = torch.compile(model.to(device), dynamic=False, mode=mode) if compiled else model.to(device)
    weights: list[Tensor] = list(model.parameters())
    optimiser = torch.optim.AdamW(weights, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    ema = [w.detach().clone() for w in weights]
    batch, coeffs = inputs(size.shape, 1, size.batch, device)
    t = coeffs.b[0]

    def step() -> None:
        mixed = torch.lerp(batch.x, batch.noise, t[:, None, None, None])
        with autocast(recipe.precision, device):
            out = network(mixed, t, batch.tokens, batch.pooled)
        nn.functional.mse_loss(out.float(), batch.noise - batch.x).backward()
        nn.utils.clip_grad_norm_(weights, 1.0, foreach=True)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(ema, weights, EMA)

    return step
