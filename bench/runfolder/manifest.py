"""The plan of a command as a file of its run folder: what the cells are, and all that must be equal where they are compared.

    DIR/grid.json      of the last command; of a race, only the cells of formulations that were not out by then
    DIR/confirm.json   of its confirmation on fresh seeds, and why these formulations (:mod:`bench.driver.confirm`)

Written by :mod:`bench.driver.plan_files`; a reader of a run folder needs nothing else to find its cells. The seeds of a race
(``--until decided``) in which formulations are out are a phase of their own: no ranking of all has them. No torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from bench.config.identity import canonical
from bench.config.sampling_settings import ControlSetting
from flowbench._core.errors import UserError

Phase = Literal["rank", "confirm", "race"]
Command = tuple[str, tuple[str, ...]]
"""A module that was called, and its arguments."""
PROGRAM = "bench.grid"
"""The module of a command, unless another is noted."""
FILES: dict[Phase, str] = {"rank": "grid.json", "confirm": "confirm.json"}
"""The manifests of a run folder, by what the cells are for."""
OPTIONAL = ("chosen", "race", "against")
"""Parts that only some plans have."""


@dataclass(frozen=True)
class PlannedCell:
    """One training that was planned: its id names its folder, ``recipe`` an entry of :attr:`Manifest.recipes`."""

    id: str
    formulation: str
    dataset: str
    seed: int
    recipe: int

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> PlannedCell:
        """From JSON."""
        return cls(
            id=str(kept["cell"]),
            formulation=str(kept["formulation"]),
            dataset=str(kept["dataset"]),
            seed=int(kept["seed"]),
            recipe=int(kept["recipe"]),
        )

    def json(self) -> dict[str, Any]:
        """As JSON, where it is called ``cell``."""
        return {"cell": self.id, **{name: value for name, value in vars(self).items() if name != "id"}}


@dataclass(frozen=True)
class Recipe:
    """How a cell is trained and measured; all of it must be equal where cells are compared.

    ``text`` is its canonical JSON, ``parameters`` of the network, ``train_flops`` the operations of one training, including
    ``earlier_flops`` of the stages before the last.
    """

    text: str
    parameters: int
    train_flops: float
    earlier_flops: float = 0.0

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Recipe:
        """From JSON."""
        flops = float(kept["train_flops"]), float(kept.get("earlier_flops", 0))
        return cls(canonical(kept["recipe"]), int(kept["parameters"]), *flops)

    @property
    def steps(self) -> int:
        """Of the last stage."""
        return int(json.loads(self.text)["training"]["steps"])

    def flops_at(self, step: int) -> float:
        """The operations of a training up to a step of its last stage, with those of the stages before it."""
        return self.earlier_flops + (self.train_flops - self.earlier_flops) * step / self.steps

    def json(self) -> dict[str, Any]:
        """As JSON."""
        size = {"parameters": self.parameters, "train_flops": self.train_flops}
        earlier = {"earlier_flops": self.earlier_flops} if self.earlier_flops else {}
        return {"recipe": json.loads(self.text), **size, **earlier}


@dataclass(frozen=True)
class Manifest:
    """The plan of one command. ``evaluation`` and ``sampling`` name the folders of measurements and of images.

    What other rooms declare is here as JSON: the ``grid``, the ``metrics``, and the parts that only some plans have.
    """

    phase: Phase
    program: str
    """The module that was called with the ``command``."""
    command: tuple[str, ...]
    grid: Mapping[str, Any]
    evaluation: str
    sampling: str
    metrics: tuple[Mapping[str, Any], ...]
    recipes: tuple[Recipe, ...]
    parts: Mapping[str, tuple[str, str | None]]
    """The base formulation and the timestep sampler that a formulation's name is made of."""
    cells: tuple[PlannedCell, ...]
    chosen: Mapping[str, Any] = field(default_factory=dict)
    """Of a confirmation: ``why`` these formulations, and by which ``seeds`` they were chosen."""
    race: Mapping[str, Any] = field(default_factory=dict)
    """Of a race: its ``decision``, a metric and a margin, and its ``exits``; else empty."""
    against: Mapping[str, Any] = field(default_factory=dict)
    """The ``baseline`` that a run compares all others with, and its ``decision``; empty where none was named."""
    further: tuple[Command, ...] = ()
    """Of an archive of several runs (`analysis.archives.merge`): the commands of the later seeds."""

    @classmethod
    def of(cls, kept: Mapping[str, Any], phase: Phase) -> Manifest:
        """From JSON. Raises KeyError, TypeError, ValueError or AttributeError for anything else."""
        program, command = _command(kept)
        return cls(
            phase=phase,
            program=program,
            command=command,
            grid=kept["grid"],
            evaluation=str(kept["evaluation"]),
            sampling=str(kept["sampling"]),
            metrics=tuple(map(dict, kept["metrics"])),
            recipes=tuple(map(Recipe.of, kept["recipes"])),
            parts={name: (part["base"], part["sampler"]) for name, part in kept["formulations"].items()},
            cells=tuple(map(PlannedCell.of, kept["cells"])),
            further=tuple(map(_command, kept.get("further", ()))),
            **{name: kept.get(name, {}) for name in OPTIONAL},
        )

    def json(self) -> dict[str, Any]:
        """As JSON."""
        found = {
            "program": self.program,
            "command": [*self.command],
            "grid": self.grid,
            "evaluation": self.evaluation,
            "sampling": self.sampling,
            "metrics": [*self.metrics],
            "recipes": [recipe.json() for recipe in self.recipes],
            "formulations": {name: {"base": b, "sampler": s} for name, (b, s) in self.parts.items()},
            "cells": [cell.json() for cell in self.cells],
            **{name: getattr(self, name) for name in OPTIONAL},
            "further": [{"program": program, "command": [*words]} for program, words in self.further],
        }
        return {name: part for name, part in found.items() if part or name not in (*OPTIONAL, "further")}

    @cached_property
    def digest(self) -> str:
        """Hash of the plan: another has another."""
        return hashlib.sha256(canonical(self.json()).encode()).hexdigest()[:16]

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


def _command(kept: Mapping[str, Any]) -> Command:
    return str(kept.get("program", PROGRAM)), tuple(kept["command"])


def read(folder: Path) -> list[Manifest]:
    """The manifests of a run folder; none if it has no ``grid.json``. Raises :class:`UserError` for damaged ones."""
    found = [_read(folder / name, phase) for phase, name in FILES.items() if (folder / name).is_file()]
    return found if found and found[0].phase == "rank" else []


def _read(file: Path, phase: Phase) -> Manifest:
    try:
        made = Manifest.of(json.loads(file.read_bytes()), phase)
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
