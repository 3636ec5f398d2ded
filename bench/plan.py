"""From a grid to its cells, and what the run folder already holds of them. Nothing else decides what is run. No torch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import formulations
from bench import data, store
from bench.config import HEADLINE, Cell, Evaluation, Grid, full
from bench.metrics import extractors
from bench.models.shape import ARCHITECTURE
from samplers.errors import UserError

State = Literal["done", "diverged", "trained", "failed", "missing"]
"""``trained`` cells still need measuring under this evaluation; ``failed`` and ``missing`` ones need training."""


@dataclass(frozen=True)
class Planned:
    """A cell, its folder and its state."""

    cell: Cell
    folder: Path
    state: State


@dataclass(frozen=True)
class Plan:
    """Everything a command is about."""

    grid: Grid
    out: Path
    cells: tuple[Planned, ...]

    def counts(self) -> dict[str, int]:
        """How many cells are in each state."""
        return dict(Counter(p.state for p in self.cells))

    def groups(self) -> list[tuple[Planned, ...]]:
        """The unfinished cells by dataset, seed and stage: those that can share a graph."""
        found: dict[tuple[str, int, bool], list[Planned]] = {}
        for p in self.cells:
            if p.state not in ("done", "diverged"):
                found.setdefault((p.cell.dataset, p.cell.seed, p.state == "trained"), []).append(p)
        return [tuple(group) for group in found.values()]

    def todo(self, size: int) -> list[tuple[Planned, ...]]:
        """The groups in even packs of at most ``size``."""
        packs: list[tuple[Planned, ...]] = []
        for group in self.groups():
            count = -(-len(group) // size)
            edges = [len(group) * i // count for i in range(count + 1)]
            packs += [tuple(group[a:b]) for a, b in pairwise(edges)]
        return packs


def expand(grid: Grid) -> tuple[str, ...]:
    """Canonical names of the grid's formulations, crossed with its samplers. Raises :class:`UserError` for unknown ones."""
    chosen: list[str] = []
    for pattern in grid.formulations:
        if pattern == "headline":
            chosen += HEADLINE
        elif pattern in formulations.SUITES:
            chosen += formulations.names(pattern)
        else:
            chosen += formulations.match([pattern])
    return tuple(formulations.cross(chosen, grid.samplers) if grid.samplers else dict.fromkeys(chosen))


def make(grid: Grid, out: Path) -> Plan:
    """The cells of a grid in a fixed order, each with its state in the folder ``out``.

    Raises :class:`UserError` for names that are unknown and paths that are not there, before anything is loaded.
    """
    for dataset in grid.datasets:
        data.check_spec(dataset)
    for model in (grid.text, grid.evaluation.extractor):
        extractors.check_spec(model)
    cells = [
        Cell(name, dataset, seed, grid.model, grid.images, grid.training, grid.text)
        for dataset in grid.datasets
        for seed in range(grid.seeds)
        for name in expand(grid)
    ]
    return Plan(grid, out, tuple(look(cell, out, grid.evaluation) for cell in cells))


def look(cell: Cell, out: Path, evaluation: Evaluation) -> Planned:
    """A cell's state from its folder. Raises :class:`UserError` if the folder was made by another configuration."""
    folder = out / "cells" / cell.id
    if not (folder / "config.json").exists():
        return Planned(cell, folder, "missing")
    config = store.read_object(folder / "config.json")
    kept, wanted = config.get("cell", {}), full(cell)
    if config.get("architecture") != ARCHITECTURE:
        raise UserError(
            f"{folder} was trained with another version of the network: "
            f"use another --out, or the version of flowbench that made it"
        )
    if kept != wanted:
        changed = differing(kept, wanted)
        raise UserError(
            f"{folder} was made by an incompatible configuration ({changed} differ): "
            f"use another --out, or the version of flowbench that made it"
        )
    if not (folder / "status.json").exists():
        return Planned(cell, folder, "missing")
    state = store.read_object(folder / "status.json").get("state")
    if state in ("diverged", "failed"):
        return Planned(cell, folder, state)
    if state != "trained":
        raise UserError(
            f"{folder / 'status.json'} tells no state: delete that file and run the command again"
        )
    if all((folder / evaluation.id / name).exists() for name in store.MEASURED):
        return Planned(cell, folder, "done")
    weights = all((folder / name).exists() for name in store.WEIGHTS)
    return Planned(cell, folder, "trained" if weights else "missing")


def differing(kept: dict[str, object], wanted: dict[str, object], prefix: str = "") -> str:
    """The dotted names of the fields in which two configurations differ."""
    names: list[str] = []
    for key in sorted(kept.keys() | wanted.keys()):
        a, b = kept.get(key), wanted.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            if a != b:
                names.append(differing(a, b, f"{prefix}{key}."))
        elif a != b or (key in kept) != (key in wanted):
            names.append(f"{prefix}{key}")
    return ", ".join(names)


def formulations_of(plan: Plan) -> tuple[str, ...]:
    """Distinct formulations of the plan, in order."""
    return tuple(dict.fromkeys(p.cell.formulation for p in plan.cells))
