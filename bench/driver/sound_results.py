"""Whether the files that a report reads are sound: results, and the pictures that it shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.planning.plan import Plan, Planned
from bench.runfolder import measured, store
from flowbench._core import atomic


def damaged(plan: Plan) -> list[tuple[Planned, Path]]:
    """The files of finished cells that cannot be read, each with its cell."""
    seen = {cell.folder: files for cell, files in pictures(plan)}
    found = []
    for p in plan.cells:
        if p.state == "done":
            result = p.folder / plan.grid.evaluation.id / "result.json"
            try:
                file = result
                measured.read(result)
                for file in seen.get(p.folder, []):
                    if file.exists():
                        atomic.read_tensors(file, "numpy")
            except atomic.Damaged:
                found.append((p, file))
    return found


def pictures(plan: Plan) -> Iterator[tuple[Planned, list[Path]]]:
    """The pictures that a sheet may show: of the finished cells of the first dataset and seed, with the first weights."""
    evaluation, first = plan.grid.evaluation, plan.cells[0].cell
    for p in plan.cells:
        if p.state == "done" and (p.cell.dataset, p.cell.seed) == (first.dataset, first.seed):
            names = [c.name for c in evaluation.controls if c.weights == evaluation.weights[0]]
            yield p, [store.images_file(p.folder, evaluation.sampling, name) for name in names]
