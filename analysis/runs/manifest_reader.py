"""The plan of a run folder: the cells that were planned, and how they are trained and measured.

``grid.json`` describes the plan of the last command, ``confirm.json`` that of its confirmation on fresh seeds, if any. The
seeds of a race (``--until decided``) in which formulations are out are a phase of their own: no ranking of all has them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from bench.config.identity import canonical
from bench.config.sampling_settings import ControlSetting
from bench.metrics.metric import Metric
from flowbench._core.errors import UserError

Phase = Literal["rank", "confirm", "race"]
Command = tuple[str, tuple[str, ...]]
"""A module that was called, and its arguments."""
PROGRAM = "bench.grid"
"""The module of a command, unless another is noted."""
FILES: dict[Phase, str] = {"rank": "grid.json", "confirm": "confirm.json"}
"""The manifests of a run folder, by what the cells are for."""


@dataclass(frozen=True)
class PlannedCell:
    """One training that was planned: its id names its folder, ``recipe`` an entry of :attr:`Manifest.recipes`."""

    id: str
    formulation: str
    dataset: str
    seed: int
    recipe: int


@dataclass(frozen=True)
class Recipe:
    """How a cell is trained and measured; all of it must be equal where cells are compared.

    ``text`` is its canonical JSON, ``parameters`` of the network, ``train_flops`` the operations of one training.
    """

    text: str
    parameters: int
    train_flops: float


@dataclass(frozen=True)
class Manifest:
    """The plan of one command. ``evaluation`` and ``sampling`` name the folders of measurements and of images."""

    phase: Phase
    program: str
    """The module that was called with the ``command``."""
    command: tuple[str, ...]
    grid: Mapping[str, Any]
    evaluation: str
    sampling: str
    metrics: tuple[Metric, ...]
    recipes: tuple[Recipe, ...]
    parts: Mapping[str, tuple[str, str | None]]
    """The base formulation and the timestep sampler that a formulation's name is made of."""
    cells: tuple[PlannedCell, ...]
    chosen: Mapping[str, Any]
    """Of a confirmation: ``why`` these formulations, and by which ``seeds`` they were chosen."""
    race: Mapping[str, Any]
    """Of a race: its ``decision``, a metric and a margin, and its ``exits``; else empty."""
    against: Mapping[str, Any]
    """The ``baseline`` that a run compares all others with, and its ``decision``; empty where none was named."""
    further: tuple[Command, ...]
    """Of an archive of several runs (`analysis.archives.merge`): the commands of the later seeds."""
    digest: str
    """Hash of the file: another plan has another."""

    @property
    def commands(self) -> tuple[Command, ...]:
        """All commands that made the cells."""
        return ((self.program, self.command), *self.further)

    @property
    def settings(self) -> tuple[ControlSetting, ...]:
        """The control settings of a seed."""
        kept = self.grid["evaluation"]
        return tuple(ControlSetting(**s, weights=w) for w in kept["weights"] for s in kept["settings"])

    @cached_property
    def later(self) -> frozenset[int]:
        """The seeds of a race in which formulations are out."""
        names = {cell.formulation for cell in self.cells}
        there = {cell.seed: set[str]() for cell in self.cells}
        for cell in self.cells:
            there[cell.seed].add(cell.formulation)
        return (
            frozenset(seed for seed, found in there.items() if found != names) if self.race else frozenset()
        )

    def phase_of(self, cell: PlannedCell) -> Phase:
        """What a cell is for."""
        return "race" if cell.seed in self.later else self.phase


def read(folder: Path) -> list[Manifest]:
    """The manifests of a run folder; none if it has no ``grid.json``. Raises `UserError` for damaged ones."""
    found = [_read(folder / name, phase) for phase, name in FILES.items() if (folder / name).is_file()]
    return found if found and found[0].phase == "rank" else []


def _read(file: Path, phase: Phase) -> Manifest:
    try:
        raw = file.read_bytes()
        kept = json.loads(raw)
        made = Manifest(
            phase=phase,
            program=str(kept.get("program", PROGRAM)),
            command=tuple(kept["command"]),
            grid=kept["grid"],
            evaluation=str(kept["evaluation"]),
            sampling=str(kept["sampling"]),
            metrics=tuple(Metric.read(m) for m in kept["metrics"]),
            recipes=tuple(
                Recipe(canonical(r["recipe"]), int(r["parameters"]), float(r["train_flops"]))
                for r in kept["recipes"]
            ),
            parts={name: (part["base"], part["sampler"]) for name, part in kept["formulations"].items()},
            cells=tuple(
                PlannedCell(
                    id=str(c["cell"]),
                    formulation=str(c["formulation"]),
                    dataset=str(c["dataset"]),
                    seed=int(c["seed"]),
                    recipe=int(c["recipe"]),
                )
                for c in kept["cells"]
            ),
            further=tuple(
                (str(c.get("program", PROGRAM)), tuple(c["command"])) for c in kept.get("further", ())
            ),
            digest=hashlib.sha256(raw).hexdigest()[:16],
            **{name: kept.get(name, {}) for name in ("chosen", "race", "against")},
        )
        _ = made.settings
    except OSError as error:
        raise UserError(f"{str(file)!r} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{str(file)!r} is no plan of this version of flowbench ({type(error).__name__}: {error}): "
            f"run the same `python -m bench.grid` command again"
        ) from None
    if any(not 0 <= cell.recipe < len(made.recipes) for cell in made.cells):
        raise UserError(f"{str(file)!r} is damaged (a cell has no recipe): run the same command again")
    return made


def flat(recipe: str) -> dict[str, Any]:
    """A recipe's fields by dotted name, e.g. ``{"model.depth": 4, ...}``."""

    def fields(value: Any, name: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            return {name: value}
        parts = (fields(part, f"{name}.{key}" if name else str(key)) for key, part in value.items())
        return {key: part for found in parts for key, part in found.items()}

    return fields(json.loads(recipe), "")


def differing(recipes: Sequence[str]) -> dict[str, list[Any]]:
    """The dotted fields in which recipes differ, each with its values in order of appearance."""
    flats = [flat(recipe) for recipe in dict.fromkeys(recipes)]
    found = {name: [fields.get(name) for fields in flats] for fields in flats for name in fields}
    distinct = {
        name: [v for i, v in enumerate(values) if v not in values[:i]] for name, values in found.items()
    }
    return {name: values for name, values in distinct.items() if len(values) > 1}
