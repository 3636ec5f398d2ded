"""What would stop a run, found before it is begun or submitted, in the sentence with which the run would end."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from bench import data, encoders
from bench.config.experiment import Grid
from bench.cost.estimate import lasting_bytes, size
from bench.driver.memory import Memory, needed
from bench.encoders.caption_index import stored_for
from bench.launch.launchers import Launcher
from bench.models import architecture
from bench.planning.cells import datasets_of
from bench.planning.plan import Planned
from bench.planning.requirements import by_cell
from bench.runfolder.submission import Execution
from flowbench._core.errors import UserError, refusals, refuse


def check(
    divided: Sequence[Sequence[Planned]], grid: Grid, out: Path, execution: Execution, launcher: Launcher
) -> Memory | None:
    """Check weights, disk and memory for the cells of all workers; returns the memory as far as it can be estimated.

    Raises :class:`UserError` for all that is not there.
    """
    memory = needed(divided, grid, execution, launcher) if divided else None
    refuse(refusals(beforehand(divided, grid, out, memory)))
    return memory


def check_probes(grid: Grid, execution: Execution) -> None:
    """Raises :class:`UserError` for ``--probes`` if one of the networks has none."""
    for model in grid.models if execution.probes else ():
        if not architecture.get(model.architecture).probed:
            raise UserError(
                f"--probes: the network {model.architecture} declares no attention to look at: leave it out"
            )


def beforehand(
    divided: Sequence[Sequence[Planned]], grid: Grid, out: Path, memory: Memory | None
) -> list[Callable[[], object]]:
    """The checks of weights, disk and memory; none where nothing is left to run."""
    if not divided:
        return []
    stored = stored_for([data.get(dataset).latents for dataset in datasets_of(grid)], grid.text)
    specs = dict.fromkeys([*([] if stored else [grid.text]), grid.evaluation.extractor])
    found: list[Callable[[], object]] = [encoders.get(spec).check for spec in specs]
    found.append(lambda: check_disk(divided, grid, out))
    return found + ([memory.check] if memory else [])


def files(grid: Grid) -> list[Callable[[], object]]:
    """The checks of the files of a grid's data sets."""
    return [data.get(dataset).check for dataset in datasets_of(grid)]


def check_pictures(grid: Grid) -> None:
    """Raises :class:`UserError` if a user's own pictures cannot be used, or an encoder has no vector for their words."""
    for dataset in datasets_of(grid):
        captions = data.get(dataset).captions(dataset, grid.images)
        for spec in dict.fromkeys([grid.text, grid.evaluation.extractor]):
            encoders.get(spec).check_words(captions, dataset)


def check_unchanged(grid: Grid, out: Path) -> None:
    """Raises :class:`bench.runfolder.cell_folder.Changed` if a user's own pictures are others than those on
    which cells in ``out`` were trained. They are decoded for that, as the run would, where such cells are."""
    from bench.worker import provenance  # imports torch

    now: dict[str, dict[str, str]] = {}
    for dataset, folder in provenance.planned_cells(out, grid.images):
        known = data.registry.find(dataset.partition(":")[0])
        if known and not data.get(dataset).fixed and dataset not in now and provenance.trained(folder):
            now[dataset] = {"data": data.load(dataset, **asdict(grid.images)).digest}
    if other := provenance.trained_on_others(out, now, grid.images):
        raise provenance.changed(out, other)


def check_disk(divided: Sequence[Sequence[Planned]], grid: Grid, out: Path) -> None:
    """Raises :class:`UserError` if the files that stay do not fit."""
    place = next(folder for folder in (out, *out.parents) if folder.is_dir())
    kept, free = sum(lasting_bytes(p, by_cell(grid)) for part in divided for p in part), float("inf")
    with suppress(OSError):
        free = shutil.disk_usage(place).free
    if kept > free:
        raise UserError(
            f"--out {out}: the files of this run take {size(kept)}, and {size(free)} are free there: name a folder on "
            f"another disk, or take fewer --samples or --seeds"
        )
