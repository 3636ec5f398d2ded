"""What a cell was made of and on, and that it has not changed under its name since."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import formulations
from bench import store
from bench.config import Grid
from bench.machine import device_name, versions
from bench.models.shape import ARCHITECTURE
from bench.plan import Planned
from bench.setup import Setup
from bench.solvers import begun
from formulations import Formulation
from samplers.errors import UserError
from samplers.plugin import text_behind


class Changed(UserError):
    """A cell that was begun with something else than there is now: nothing of it may be gone on with."""


def inputs(setup: Setup, formulation: Formulation) -> dict[str, Any]:
    """What a cell depends on beyond its names: the content of its data, of its text encoder and of its formulation."""
    return {
        "data": setup.data.digest,
        "text_encoder": setup.text_name,
        "coefficients": probe(formulation),
        "architecture": ARCHITECTURE,
        "plugin": text_behind(formulation.name),
    }


def probe(formulation: Formulation) -> list[list[float]]:
    """The seven scalars at seven quantiles: shows a plugin that was edited under an old name."""
    u = torch.tensor([0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95], dtype=torch.float64)
    c = formulation.coeffs(formulation.times(u))
    return [[float(f"{value:.6g}") for value in part.tolist()] for part in c]


def verify(folder: Path, setup: Setup, formulation: Formulation) -> None:
    """Raises :class:`Changed` if a trained cell was made from other data, text encoder or formulation."""
    kept = store.read_object(folder / "config.json")
    now = inputs(setup, formulation)
    if kept["data"] != now["data"] or kept["text_encoder"] != now["text_encoder"]:
        what = "the dataset" if kept["data"] != now["data"] else "the text encoder"
        raise Changed(
            f"{what} of {folder} has changed since it was trained: use another --out, or delete the folder"
        )
    verify_formulation(folder, formulation)


def verify_unfinished(folder: Path, setup: Setup, formulation: Formulation) -> None:
    """As :func:`verify`, for a training that was interrupted: then the plugin's text must be the same too."""
    verify(folder, setup, formulation)
    if store.read_object(folder / "config.json").get("plugin") != text_behind(formulation.name):
        raise Changed(
            f"the plugin of {formulation.name!r} has changed since the training in {folder} was interrupted: "
            f"restore it, or delete that folder to train from the start"
        )


def verify_formulation(folder: Path, formulation: Formulation) -> None:
    """Raises :class:`Changed` if the cell in ``folder`` was trained with other coefficients under the same name."""
    kept = store.read_object(folder / "config.json")["coefficients"]
    if not np.allclose(kept, probe(formulation), rtol=1e-4, atol=1e-6, equal_nan=True):
        raise Changed(
            f"formulation {formulation.name!r} has changed since {folder} was trained: "
            f"register it under another name, or delete the folder"
        )


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
