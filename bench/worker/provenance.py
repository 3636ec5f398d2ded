"""What a cell was made of and on, and that it has not changed under its name since."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

import formulations
from bench import objectives, optimisers
from bench.config.experiment import Cell, Grid, Images
from bench.config.identity import full
from bench.machine.device import device_name, versions
from bench.models.architecture import version_of
from bench.planning.plan import Planned
from bench.runfolder import lease, store
from bench.runfolder.cell_folder import CHANGED, Changed
from bench.runfolder.failure import Failure
from bench.runfolder.manifest import FILES
from bench.sampling.times import begun
from bench.worker.setup import Setup
from flowbench._core import atomic
from flowbench._core.plugin import text_behind
from flowbench._core.terminal import many, short
from formulations import Formulation
from formulations.check_formulation import probe


def inputs(setup: Setup, cell: Cell) -> dict[str, Any]:
    """What a cell depends on beyond its names: the content of its data, of its text encoder, of its formulation, of its
    optimiser and of its objective."""
    formulation, recipe = formulations.get(cell.formulation), cell.training
    return {
        "data": setup.data.digest,
        "text_encoder": setup.text_name,
        "coefficients": probe(formulation),
        "updates": optimisers.probe(optimisers.get(recipe.optimiser)),
        "losses": objectives.probe(objectives.get(recipe.objective)),
        "architecture": version_of(cell.model.architecture),
        "plugin": text_behind(formulation.name),
        "optimiser_plugin": text_behind(recipe.optimiser, ("optimiser",)),
        "objective_plugin": text_behind(recipe.objective, ("objective",)),
    }


def verify(folder: Path, setup: Setup, cell: Cell) -> None:
    """Raises :class:`Changed` if a trained cell was made from other data, captions, formulation, optimiser or objective."""
    kept = atomic.read_object(folder / "config.json")
    now = inputs(setup, cell)
    if kept["data"] != now["data"] or kept["text_encoder"] != now["text_encoder"]:
        what = "the dataset" if kept["data"] != now["data"] else "the text encoder"
        raise Changed(
            f"{what} of {folder} has changed since it was trained: use another --out, or delete the folder"
        )
    verify_formulation(folder, formulations.get(cell.formulation))
    verify_recipe(folder, cell)


INPUTS = {"data": "the images or captions", "text_encoder": "the text encoder"}
"""Of what :func:`inputs` keeps, what a command can find changed before anything is trained."""


def check_inputs(out: Path, ready: Mapping[str, Setup], images: Images) -> None:
    """Raises :class:`Changed` if cells of the plans in a run folder were trained on other data or with another text encoder
    than there are now: results of both could never be ranked together.

    Marks such cells, so that ``--retry all`` trains them again; and those no more for which it holds no longer.
    """
    other = trained_on_others(
        out, {d: {"data": s.data.digest, "text_encoder": s.text_name} for d, s in ready.items()}, images
    )
    folders = set(chain.from_iterable(other.values()))
    for dataset, folder in planned_cells(out, images):
        if dataset in ready and folder not in folders and trained(folder):
            (folder / CHANGED).unlink(missing_ok=True)
    if other:
        error = changed(out, other)
        for folder in folders:
            atomic.write_json(folder / CHANGED, asdict(Failure.of(error)))
        raise error


Others = dict[tuple[str, str], list[Path]]
"""The folders of trained cells by their dataset and what it has changed, in words."""


def trained_on_others(out: Path, now: Mapping[str, Mapping[str, str]], images: Images) -> Others:
    """What was trained on other :data:`INPUTS` than datasets have ``now``; one that is not given is as it was."""
    other: Others = {}
    for dataset, folder in planned_cells(out, images):
        if dataset not in now or not trained(folder):
            continue
        kept = lease.read(folder / "config.json")
        differs = [INPUTS[name] for name, value in now[dataset].items() if kept.get(name) != value]
        if differs:
            other.setdefault((dataset, differs[0]), []).append(folder)
    return other


def changed(out: Path, other: Others) -> Changed:
    """The sentence about cells that were trained on other inputs."""
    changes = [
        f"{what} of {dataset} changed after {many(len(folders), 'cell')} in {short(out)} had been trained"
        for (dataset, what), folders in other.items()
    ]
    return Changed(
        f"{'; '.join(changes)}: what is trained now could not be ranked with that. Put it back, name another --out, "
        f"or add --retry all to train also those cells on what is there now"
    )


def planned_cells(out: Path, images: Images) -> Iterator[tuple[str, Path]]:
    """The cells of the plans in a run folder, each with its dataset; not those that were trained on images of another size
    or on more or fewer of them, such as those of another stage."""
    made = full(images)
    for name in FILES.values():
        for cell in lease.read(out / name).get("cells", []):
            folder = out / "cells" / cell["cell"]
            kept = lease.read(folder / "config.json").get("cell")
            if not isinstance(kept, dict) or kept.get("images", made) == made:
                yield cell["dataset"], folder


def trained(folder: Path) -> bool:
    """Whether a cell has a training that its data have entered. One whose files are damaged is trained again."""
    if "data" not in lease.read(folder / "config.json"):
        return False
    done = lease.read(folder / "status.json").get("state") in ("trained", "diverged")
    return done or bool(store.checkpoint_steps(folder))


def verify_unfinished(folder: Path, setup: Setup, cell: Cell) -> None:
    """As :func:`verify`, for a training that was interrupted: then the plugins' texts must be the same too."""
    verify(folder, setup, cell)
    kept, now = atomic.read_object(folder / "config.json"), inputs(setup, cell)
    recipe = cell.training
    for key, name in (
        ("plugin", cell.formulation),
        ("optimiser_plugin", recipe.optimiser),
        ("objective_plugin", recipe.objective),
    ):
        if kept.get(key) != now[key]:
            raise Changed(
                f"the plugin of {name!r} has changed since the training in {folder} was interrupted: "
                f"restore it, or delete that folder to train from the start"
            )


def verify_inputs(folder: Path, now: Mapping[str, str]) -> None:
    """Raises :class:`Changed` if a cell was trained on others of :data:`INPUTS` than there are ``now``."""
    kept = atomic.read_object(folder / "config.json")
    for name, value in now.items():
        if kept.get(name) != value:
            what = "dataset" if name == "data" else "text encoder"
            raise Changed(
                f"the {what} has changed since {folder} was trained ({kept.get(name)}, now {value})"
            )


def verify_formulation(folder: Path, formulation: Formulation) -> None:
    """Raises :class:`Changed` if the cell in ``folder`` was trained with other coefficients under the same name."""
    kept = atomic.read_object(folder / "config.json")["coefficients"]
    if not np.allclose(kept, probe(formulation), rtol=1e-4, atol=1e-6, equal_nan=True):
        raise Changed(
            f"formulation {formulation.name!r} has changed since {folder} was trained: "
            f"register it under another name, or delete the folder"
        )


def verify_network(folder: Path, cell: Cell) -> None:
    """Raises :class:`Changed` if the cell in ``folder`` was trained by another version of its network."""
    if atomic.read_object(folder / "config.json").get("architecture") != version_of(cell.model.architecture):
        raise Changed(
            f"the network {cell.model.architecture!r} has changed since {folder} was trained: use the one that trained it"
        )


def verify_recipe(folder: Path, cell: Cell) -> None:
    """Raises :class:`Changed` if the cell in ``folder`` was trained by other updates or losses under the same names."""
    kept, recipe = atomic.read_object(folder / "config.json"), cell.training
    for kind, name, probed, key in (
        ("optimiser", recipe.optimiser, optimisers.probe(optimisers.get(recipe.optimiser)), "updates"),
        ("objective", recipe.objective, objectives.probe(objectives.get(recipe.objective)), "losses"),
    ):
        if key in kept and not optimisers.same(kept[key], probed):
            raise Changed(
                f"{kind} {name!r} has changed since {folder} was trained: "
                f"register it under another name, or delete the folder"
            )


def check_recipes(cells: Sequence[Planned]) -> None:
    """Conformance of every optimiser and objective, and that none changed under the name of a cell that is begun already."""
    for name in dict.fromkeys(p.cell.training.optimiser for p in cells):
        optimisers.check(optimisers.get(name))
    for name in dict.fromkeys(p.cell.training.objective for p in cells):
        objectives.check(objectives.get(name))
    for p in cells:
        if (p.folder / "config.json").exists() and not p.damage:
            verify_recipe(p.folder, p.cell)


def check_formulations(grid: Grid, cells: Sequence[Planned]) -> None:
    """Conformance of every formulation, and that none changed under the name of a cell that is begun already."""
    steps = [setting.steps for setting in grid.evaluation.settings]
    for name in dict.fromkeys(p.cell.formulation for p in cells):
        formulations.check(begun(formulations.get(name), grid.evaluation.start), steps)
    for p in cells:
        if (p.folder / "config.json").exists() and not p.damage:
            verify_formulation(p.folder, formulations.get(p.cell.formulation))


def provenance(device: torch.device, members: int) -> dict[str, Any]:
    """Where and when a stage ran."""
    return {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        **versions(),
        "pack": members,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
