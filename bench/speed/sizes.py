"""What is timed: the sizes of models, and the inputs of a step."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch

from bench.config.experiment import Training
from bench.models.shape import Shape
from bench.training import tuning
from bench.training.batches import Batch
from formulations import Coeffs


@dataclass(frozen=True)
class Size:
    """A model, a batch and a precision, by a short name for ``--sizes``."""

    name: str
    shape: Shape
    batch: int
    precision: Literal["float32", "bf16"] = "float32"
    needs_gpu: bool = False

    def __str__(self) -> str:
        s = self.shape
        return (
            f"depth {s.depth}, width {s.width}, {s.image_tokens} + {s.text_length} tokens, batch {self.batch}"
            + (", bf16" if self.precision == "bf16" else "")
        )

    def recipe(self) -> Training:
        """The training recipe of a step."""
        return Training(batch=self.batch, precision=self.precision)

    def changed(self, batch: int | None = None, **shape: Any) -> Size:
        """The same with another batch or other fields of the shape."""
        return replace(self, batch=batch or self.batch, shape=replace(self.shape, **shape))


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


def inputs(size: Size, members: int, device: torch.device) -> tuple[Batch, Coeffs]:
    """A batch, and coefficients ``[E, B]`` of rectified flow; seeded."""
    return tuning.inputs(size.shape, members, size.batch, device)


def to_json(size: Size) -> dict[str, Any]:
    """A size as plain values, for a process of its own."""
    return asdict(size)


def from_json(value: dict[str, Any]) -> Size:
    """The inverse of :func:`to_json`."""
    return Size(**{**value, "shape": Shape(**value["shape"])})
