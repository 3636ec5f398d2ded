"""A cell's checkpoint as one file, or as one of each replica if they divide the parameters.

Each file is a safetensors file like any other here, with the sha256 of its content: no format of torch's own, whose index
is a pickle. A part is a slice that follows from its number (:mod:`bench.models.part`), so that any other number of replicas,
or a single process, reads its own part from all of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from bench.models.flat import Flat
from bench.models.part import Part
from bench.runfolder import store
from flowbench._core import atomic


class Divisible(Protocol):
    """A state whose tensors of the size of the weights are of the same part."""

    @property
    def flat(self) -> Flat: ...

    def rows(self) -> dict[str, Tensor]: ...


def write(folder: Path, step: int, part: Part, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Write the file of a part of a member's state."""
    about |= {"parts": part.count} if part.count > 1 else {}
    atomic.write_tensors(store.checkpoint_file(folder, step, part.rank, part.count), tensors, about)


def read(folder: Path, step: int, state: Divisible) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A member's tensors of the part that ``state`` has, and the metadata of a file.

    Raises :class:`flowbench._core.atomic.Damaged`, and KeyError, ValueError or RuntimeError for files of another step or
    model."""
    flat, part = state.flat, state.flat.part
    count = atomic.read_about(store.checkpoint_file(folder, step)).get("parts", 1)
    if part.count == count:
        return read_part(folder, step, part)
    columns, shapes = flat.weights.shape[1], flat.whole.shapes
    rows = {
        name: torch.empty(columns) for name, row in state.rows().items() if row.shape == flat.weights.shape
    }
    for each in (Part(rank, count) for rank in range(count)):
        tensors, about = read_part(folder, step, each)
        for name, row in rows.items():
            part.take(row, tensors[name], each, shapes)
    return tensors | rows, about


def read_part(folder: Path, step: int, part: Part) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The file of one part."""
    tensors, about = atomic.read_tensors(store.checkpoint_file(folder, step, part.rank, part.count))
    if about["step"] != step:
        raise ValueError("it is of another step")
    return tensors, about
