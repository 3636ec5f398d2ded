"""From a grid to its cells, and what the run folder already holds of them. Nothing else decides what is run. No torch."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

from bench import data, encoders, solvers
from bench.config.experiment import VALIDATION, Cell, Grid
from bench.config.identity import full
from bench.config.limits import divides
from bench.metrics import reference_file
from bench.models.architecture import version_of
from bench.planning import encoder_drops, network_sizes, time_tables
from bench.planning.cells import cells_of, check_stages, check_weights, datasets_of, parents_of
from bench.planning.decision import Decision
from bench.runfolder import lease, store
from flowbench._core import atomic
from flowbench._core.errors import UserError, refusals, refuse

State = Literal["done", "diverged", "failed", "running", "queued", "stale", "trained", "missing"]
"""``done``, ``diverged`` and ``failed`` cells are finished; ``running`` and ``queued`` ones are some worker's. The
others are to be run: ``stale`` ones lost their worker, ``trained`` ones need measuring under this evaluation, ``missing``
ones all."""
ENDED: tuple[State, ...] = ("done", "diverged", "failed")
BUSY: tuple[State, ...] = ("running", "queued")


@dataclass(frozen=True)
class Planned:
    """A cell, its folder, its state, and what was found damaged in its folder. A ``parent`` is wanted for its weights: it is
    ``done`` once it is trained, and not measured."""

    cell: Cell
    folder: Path
    state: State
    damage: str | None = None
    parent: bool = False


Kind = tuple[Cell, bool]


def kind(p: Planned) -> Kind:
    """Cells of one kind can share a graph: they have all in common but the formulation, and are as far."""
    return p.cell.alike, p.state == "trained"


@dataclass(frozen=True)
class Chosen:
    """Why the formulations of a confirmation were chosen, by which seeds, and among which formulations."""

    why: str
    seeds: tuple[int, ...]
    among: tuple[str, ...]


@dataclass(frozen=True)
class Exit:
    """A formulation that is out of a race after so many ``seeds``, beaten ``by`` another; by None where it has seeds without
    a value."""

    formulation: str
    seeds: int
    by: str | None


@dataclass(frozen=True)
class Course:
    """A race so far (:mod:`bench.driver.race`): what decides it, and the formulations that are out."""

    decision: Decision
    exits: tuple[Exit, ...] = ()

    def includes(self, formulation: str, number: int) -> bool:
        """Whether a formulation is in the seed of that number, counted from 0."""
        return all(number < left.seeds for left in self.exits if left.formulation == formulation)


@dataclass(frozen=True)
class Against:
    """The ``baseline`` that all others are compared with in tables of their own, and what decides that."""

    baseline: str
    decision: Decision


@dataclass(frozen=True)
class Plan:
    """The cells of a command; ``chosen`` is set for a confirmation (:mod:`bench.driver.confirm`), ``course`` for
    a race: then formulations that are out have no cells in later seeds."""

    grid: Grid
    out: Path
    cells: tuple[Planned, ...]
    chosen: Chosen | None = None
    course: Course | None = None
    against: Against | None = None
    parents: tuple[Planned, ...] = ()
    """The cells of earlier stages that ``cells`` build on, each before those that build on it."""

    def counts(self) -> dict[str, int]:
        """How many cells are in each state."""
        return dict(Counter(p.state for p in self.cells))

    def ready(self) -> list[Planned]:
        """The cells that are to be run, each after its parent: neither finished nor a worker's, and a parent only if a cell
        that is to be trained begins with its weights."""
        found, wanted = list[Planned](), set[str]()
        for p in reversed((*self.parents, *self.cells)):
            if p.state in ENDED or (p.parent and p.cell.id not in wanted):
                continue
            if p.cell.init and p.state != "trained":
                wanted.add(p.cell.init.cell.id)
            if p.state not in BUSY:
                found.append(p)
        return found[::-1]

    def stuck(self) -> set[str]:
        """The ids of the cells without weights that build on one that diverged: only ``--retry all`` trains these."""
        diverged = {p.folder.name for p in self.parents if p.state == "diverged"}
        return {
            p.folder.name
            for p in (*self.parents, *self.cells)
            if p.state in ("failed", "missing", "stale") and diverged & {c.id for c in p.cell.ancestors}
        }

    def groups(self) -> list[tuple[Planned, ...]]:
        """The cells that are to be run by their kind: those that can share a graph."""
        return grouped(self.ready())

    def chains(self) -> list[list[Planned]]:
        """The cells that are to be run, each with those that follow from it: one worker does them in turn."""
        found: dict[str, list[Planned]] = {}
        for p in self.ready():
            chain = found.get(p.cell.init.cell.id, []) if p.cell.init else []
            chain.append(p)
            found[p.cell.id] = chain
        return list({id(chain): chain for chain in found.values()}.values())

    def mapped(self, function: Callable[[Planned], Planned]) -> Plan:
        """The plan with a function of each of its cells."""
        parents, cells = (tuple(map(function, part)) for part in (self.parents, self.cells))
        return replace(self, parents=parents, cells=cells)


def grouped(cells: Iterable[Planned]) -> list[tuple[Planned, ...]]:
    """Cells by their kind: those that can share a graph."""
    found: dict[Kind, list[Planned]] = {}
    for p in cells:
        found.setdefault(kind(p), []).append(p)
    return [tuple(group) for group in found.values()]


def even(group: Sequence[Planned], size: int) -> list[tuple[Planned, ...]]:
    """A group in even packs of at most ``size``."""
    count = -(-len(group) // size)
    edges = [len(group) * i // count for i in range(count + 1)]
    return [tuple(group[a:b]) for a, b in pairwise(edges)]


def together(groups: Sequence[tuple[Planned, ...]]) -> list[tuple[Planned, ...]]:
    """The groups with those cells apart that began in a pack of their own: so they continue together, bit for bit.

    A cell that has no checkpoint belongs to such a pack only if the pack died while it wrote its first.
    """
    parted: list[tuple[Planned, ...]] = []
    for group in groups:
        packs = {p.cell.id: companions(p.folder) for p in group}
        once = [p for p in group if len(store.checkpoint_steps(p.folder)) == 1]
        first = {cell: packs[p.cell.id] for p in once for cell in sorted(packs[p.cell.id])}
        parts: dict[frozenset[str], list[Planned]] = {}
        for p in group:
            own = packs[p.cell.id] or first.get(p.cell.id, [])
            parts.setdefault(frozenset(own), []).append(p)
        parted += [tuple(part) for part in parts.values()]
    return parted


def companions(folder: Path) -> list[str]:
    """The ids of the cells that trained together when a cell's newest readable checkpoint was written."""
    for step in store.checkpoint_steps(folder):
        with suppress(atomic.Damaged):
            return list(atomic.read_about(store.checkpoint_file(folder, step)).get("pack", []))
    return []


def make(grid: Grid, out: Path, course: Course | None = None, there: bool = True) -> Plan:
    """The cells of a grid, or of a race on it, in a fixed order, each with its state in the folder ``out``.

    Raises :class:`UserError` for names that are unknown and, if data must be ``there``, for paths that are not, before
    anything is loaded.
    """
    absent = {dataset: refusals([data.get(dataset).check]) for dataset in datasets_of(grid)}
    if there and (sentences := [each for several in absent.values() for each in several]):
        specs = dict.fromkeys([grid.text, grid.evaluation.extractor])
        refuse([*sentences, *refusals(encoders.get(spec).check for spec in specs)])
    for dataset in (each for each, sentences in absent.items() if not sentences):
        edge = data.get(dataset).shape(grid.images.resolution)[1]
        divides(grid.model.patch, edge, f"the edge of the inputs of {dataset},")
    encoders.require(grid.text, "text")
    encoder_drops.check(grid)
    network_sizes.check(grid)
    encoders.require(grid.evaluation.extractor, "extractor")
    if grid.evaluation.reference != VALIDATION:
        reference_file.check(Path(grid.evaluation.reference))
    for setting in grid.evaluation.settings:
        setting.check()
    time_tables.check(grid)
    check_stages(grid)
    check_weights(grid)
    looked = StateReader(out, grid)
    cells = cells_of(grid)
    if course:
        cells = [c for c in cells if course.includes(c.formulation, c.seed - grid.first_seed)]
    parents = tuple(looked(cell) for cell in parents_of(cells))
    return Plan(grid, out, tuple(looked(cell) for cell in cells), course=course, parents=parents)


def one_more_seed(planned: Plan) -> Plan:
    """The same plan with one more seed."""
    grid = replace(planned.grid, seeds=planned.grid.seeds + 1)
    made = make(grid, planned.out, planned.course)
    return replace(planned, grid=grid, cells=made.cells, parents=made.parents)


class StateReader:
    """Finds the states of a grid's cells from their folders; lists the run folder once."""

    def __init__(self, out: Path, grid: Grid) -> None:
        evaluation = grid.evaluation
        self.out, self.stages, self.measured = out, len(grid.earlier), evaluation.id
        self.solvers = solvers.texts(s.solver for s in evaluation.settings)
        own = evaluation.reference == VALIDATION
        self.reference = "" if own else reference_file.named(Path(evaluation.reference))
        folder = out / "cells"
        self.there = set(os.listdir(folder)) if folder.is_dir() else set()

    def __call__(self, cell: Cell) -> Planned:
        """A cell's state. Raises :class:`UserError` if its folder was made by another configuration."""
        name, parent = cell.id, len(cell.ancestors) < self.stages
        folder = self.out / "cells" / name
        if name not in self.there:
            return Planned(cell, folder, "missing", parent=parent)
        there = set(os.listdir(folder))
        begun = "lease.json" in there or any(file.startswith("checkpoint-") for file in there)
        try:
            if "config.json" in there:
                self.verify(cell, folder)
            state = self.state(folder, parent)
            if "config.json" not in there and state != "failed":  # which it may before it has any inputs
                return Planned(cell, folder, "missing", parent=parent)
            return Planned(cell, folder, "stale" if state == "missing" and begun else state, parent=parent)
        except atomic.Damaged as error:
            return Planned(cell, folder, "missing", str(error), parent)

    def verify(self, cell: Cell, folder: Path) -> None:
        """Raises :class:`UserError` if the folder was made by another configuration."""
        config = atomic.read_object(folder / "config.json")
        kept, wanted = config.get("cell", {}), full(cell)
        if config.get("architecture") != version_of(cell.model.architecture):
            raise UserError(
                f"{titled(cell)} in {folder} was trained with another version of the network: "
                f"use another --out, or the version of flowbench that made it"
            )
        if kept != wanted:
            raise UserError(
                f"{titled(cell)} in {folder} was made by an incompatible configuration ({differing(kept, wanted)} differ): "
                f"use another --out, or the version of flowbench that made it"
            )

    def state(self, folder: Path, parent: bool) -> State:
        """The state by the folder's files. Raises :class:`flowbench._core.atomic.Damaged`."""
        if not (folder / "status.json").exists():
            return "missing"
        status = atomic.read_object(folder / "status.json")
        state = status.get("state")
        if state not in ("trained", "diverged", "failed"):
            raise atomic.Damaged(f"{folder / 'status.json'} cannot be read (it holds no state)")
        if state == "diverged":
            return "diverged"
        weights = all((folder / name).exists() for name in store.WEIGHTS)
        if parent and state == "trained":
            return "done" if weights else "missing"
        measured = all((folder / self.measured / name).exists() for name in store.MEASURED)
        if measured and not self.outdated(folder):
            return "done"
        if status.get("error") and (state == "failed" or status.get("evaluation") == self.measured):
            return "failed"
        return "trained" if weights else "missing"

    def outdated(self, folder: Path) -> bool:
        """Whether a cell was measured with solvers of plugins, or a file of ``--reference``, that have changed since."""
        result = folder / self.measured / "result.json"
        if not (self.solvers or self.reference) or not result.exists():
            return False
        found = lease.read(result)
        name = str(found.get("names", {}).get("fid_name", ""))
        own = not (self.reference and name) or f"ref={self.reference}-" in name
        return not own or bool(self.solvers and found.get("solvers") != self.solvers)


def titled(cell: Cell) -> str:
    """A cell by what it is."""
    return f"{cell.formulation} on {cell.dataset}, seed {cell.seed},"


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
