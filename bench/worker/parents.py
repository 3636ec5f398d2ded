"""The parents of cells of a later stage: whose weights a training begins with, and what becomes of a cell without any."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from bench.config.experiment import Grid
from bench.planning.plan import Planned, StateReader
from bench.runfolder import cell_folder, lease
from bench.runfolder.cell_folder import Changed
from bench.runfolder.failure import Failure, digest
from bench.worker.control import Control
from flowbench._core import atomic


def trained(cells: Sequence[Planned], grid: Grid, control: Control) -> list[Planned]:
    """Those of some cells that need no parent, or have a trained one. A cell whose parent failed or diverged fails; one
    whose parent is not finished, such as another worker's, is left for the next command."""
    found = []
    for p in cells:
        if not p.cell.init or p.state == "trained":
            found.append(p)
            continue
        parent = StateReader(p.folder.parents[1], grid)(p.cell.init.cell)
        if parent.state == "done":
            found.append(p)
        elif parent.state in ("failed", "diverged"):
            failure = because_of(parent)
            control.guard([p.folder])
            cell_folder.fail(p.folder, failure, failure.message, grid.evaluation.id)
        else:
            control.say(
                f"{p.cell.formulation} on {p.cell.dataset}: its parent {parent.cell.id} is not trained yet"
            )
    return found


def because_of(parent: Planned) -> Failure:
    """The failure of a cell whose parent failed or diverged."""
    status = lease.read(parent.folder / "status.json")
    cause = Failure.read(status.get("error"))
    why = f"failed: {cause.message}" if cause else f"diverged at step {status.get('diverged_at_step')}"
    cell = parent.cell
    which = f"{cell.formulation} on {cell.dataset}, seed {cell.seed}, {cell.training.steps} steps"
    message = f"it follows a training ({which}; cell {cell.id}) that {why}"
    return Failure("Parent", message, digest("Parent", cell.id))


def weights_file(p: Planned) -> Path | None:
    """The weights that the training of a cell begins with; None from scratch."""
    init = p.cell.init
    return p.folder.parent / init.cell.id / f"{init.weights}.safetensors" if init else None


def weights(pack: Sequence[Planned]) -> list[dict[str, Tensor]] | None:
    """Those of every cell of a pack. Raises :class:`flowbench._core.atomic.Damaged`."""
    files = [file for p in pack if (file := weights_file(p))]
    return [atomic.read_tensors(file)[0] for file in files] or None


def inputs(p: Planned) -> dict[str, Any]:
    """What a cell depends on of its parent: the content of its weights."""
    file = weights_file(p)
    return {"parent": atomic.read_about(file)["sha256"]} if file else {}


def verify(p: Planned) -> None:
    """Raises :class:`Changed` if a cell was begun with other weights than its parent has now."""
    kept = lease.read(p.folder / "config.json").get("parent")
    file = weights_file(p)
    if file and file.exists() and kept not in (None, inputs(p)["parent"]):
        raise Changed(
            f"the weights that the training in {p.folder} began with ({file}) have changed since: restore them, or delete "
            f"the folder {p.folder.name} to train it again"
        )
