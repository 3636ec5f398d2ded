"""What would stop a run, found before it is begun or submitted, in the sentence with which the run would end. No torch."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bench import cgroup
from bench.amounts import by_cell
from bench.config import Grid
from bench.estimate import lasting_bytes, size
from bench.launch import local
from bench.launch.submission import Execution
from bench.metrics import extractors
from bench.plan import Planned
from samplers.errors import UserError


def check(divided: Sequence[Sequence[Planned]], grid: Grid, out: Path, execution: Execution) -> None:
    """Check weights, disk and memory for the cells of all workers. Raises :class:`UserError` for what is not there."""
    if not divided:
        return
    for spec in dict.fromkeys([grid.text, grid.evaluation.extractor]):
        extractors.check_weights(spec)
    check_disk(divided, grid, out)
    if execution.executor == "local" and not local.on_gpu(execution):
        check_memory(divided, grid, execution.pack or 1)


def check_disk(divided: Sequence[Sequence[Planned]], grid: Grid, out: Path) -> None:
    """Raises :class:`UserError` if the files that stay do not fit."""
    place = next(folder for folder in (out, *out.parents) if folder.is_dir())
    needed, free = sum(lasting_bytes(p, by_cell(grid)) for part in divided for p in part), float("inf")
    with suppress(OSError):
        free = shutil.disk_usage(place).free
    if needed > free:
        raise UserError(
            f"--out {out}: the files of this run take {size(needed)}, and {size(free)} are free there: name a folder on "
            f"another disk, or take fewer --samples or --seeds"
        )


def check_memory(divided: Sequence[Sequence[Planned]], grid: Grid, together: int) -> None:
    """Raises :class:`UserError` if so many cells cannot train in one graph."""
    look, free = by_cell(grid), cgroup.available_memory()
    for p in (p for part in divided for p in part if p.state != "trained"):
        amounts = look(p.cell)
        needed = together * amounts.shape.training_bytes(p.cell.training.batch)
        if needed > free:
            what = f"--pack {together}" if together > 1 else f"--depth {p.cell.model.depth}"
            raise UserError(
                f"{what}: a training step with --batch {p.cell.training.batch} takes about {size(needed)} of memory, and "
                f"{size(free)} are free: take less, or another machine"
            )
