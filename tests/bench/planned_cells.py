"""Cells of a plan in every state, as an estimate finds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.config.experiment import Cell, Grid
from bench.config.identity import full
from bench.cost.estimate import estimate
from bench.planning.plan import Planned, State
from flowbench._core import atomic

from .conftest import TINY


def planned(
    folder: Path, seed: int, state: State = "missing", grid: Grid = TINY, name: str = "rf"
) -> Planned:
    cell = Cell(name, "shapes", seed, grid.model, grid.images, grid.training, grid.text)
    return Planned(cell, folder / "cells" / cell.id, state)


def finish(p: Planned, training: Any, measuring: Any = None) -> None:
    atomic.write_json(p.folder / "config.json", {"cell": full(p.cell)})
    atomic.write_json(p.folder / "status.json", {"state": "trained", "training": training})
    if measuring:
        atomic.write_json(p.folder / TINY.evaluation.id / "result.json", {"measuring": measuring})


def hours(
    cells: list[Planned], share: list[Planned] | None = None, grid: Grid = TINY, **options: Any
) -> float:
    return estimate(cells, [share or cells], grid, **({"here": False} | options)).device_hours
