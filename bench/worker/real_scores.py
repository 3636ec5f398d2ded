"""What real images score instead of generated ones: a file for each dataset and recipe of evaluation. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config.experiment import Evaluation, Grid, Images
from bench.config.identity import identity
from flowbench._core import atomic

if TYPE_CHECKING:
    from bench.worker.setup import Setup


@dataclass(frozen=True)
class Recipe:
    """All that the scores of real images depend on besides the dataset."""

    images: Images = field(default_factory=Images)
    evaluation: Evaluation = field(default_factory=Evaluation)


def save(out: Path, grid: Grid, ready: Mapping[str, Setup]) -> None:
    """Measure real images of those datasets that lack it, and keep some next to the numbers to be shown."""
    from bench.worker import measure

    for dataset in lacking(out, grid):
        if dataset in ready:
            found = {"dataset": dataset, **measure.real_scores(ready[dataset])}
            where = file(out, grid, dataset)
            images, captions = measure.real_images(ready[dataset])
            atomic.write_tensors(images_file(where), {"images": images}, {"captions": captions})
            atomic.write_json(where, found)


def lacking(out: Path, grid: Grid) -> list[str]:
    """The grid's datasets whose real images are not measured yet, or whose images to be shown are damaged."""
    there = kept(out, grid)
    return [
        dataset
        for dataset in grid.datasets
        if dataset not in there or not readable(images_file(file(out, grid, dataset)))
    ]


def readable(images: Path) -> bool:
    """Whether a file of images holds what was written."""
    try:
        atomic.read_tensors(images, "numpy")
    except atomic.Damaged:
        return False
    return True


def kept(out: Path, grid: Grid) -> dict[str, Any]:
    """The scores on file, by dataset; an unreadable file counts as none, for it is cheap to make again."""
    found = {}
    for dataset in grid.datasets:
        try:
            values = atomic.read_object(file(out, grid, dataset))
        except atomic.Damaged:
            continue
        found[dataset] = {name: value for name, value in values.items() if name != "dataset"}
    return found


def file(out: Path, grid: Grid, dataset: str) -> Path:
    """Where a dataset's are kept for the grid's images and evaluation."""
    recipe = identity(Recipe(grid.images, grid.evaluation))
    return out / "real-scores" / recipe / f"{hashlib.sha256(dataset.encode()).hexdigest()[:12]}.json"


def images_file(numbers: Path) -> Path:
    """Where images to be shown are kept, next to the numbers."""
    return numbers.with_suffix(".safetensors")
