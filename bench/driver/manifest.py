"""The plan of a command as a file of its run folder: what the cells are, and all that must be equal where they are compared.

    DIR/grid.json      of the last command; of a race, only the cells of formulations that were not out by then
    DIR/confirm.json   of its confirmation on fresh seeds, and why these formulations (:mod:`bench.driver.confirm`)
    DIR/config.toml    the experiment of the last command as options (:mod:`bench.cli.config_file`)

A reader of a run folder needs nothing else to find its cells. No torch, but for formulations of plugins that import it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import formulations
from bench.cli import config_file
from bench.cli.parser import GRID
from bench.config.experiment import Cell, Evaluation, Model, Training
from bench.config.identity import full
from bench.metrics.run_metrics import columns
from bench.planning.plan import Plan, formulations_of
from bench.planning.requirements import Look, by_cell
from flowbench._core import atomic
from formulations.specs import read


def write(planned: Plan, argv: Sequence[str], program: str = GRID, plugins: Sequence[Path] = ()) -> None:
    """Write the plan of the command ``python -m PROGRAM ARGV`` to its place, and its experiment, which needs ``plugins``."""
    atomic.write_json(file(planned), manifest(planned, argv, program))
    if not planned.chosen:
        atomic.write_text(planned.out / config_file.NAME, config_file.text(planned, plugins))


def file(planned: Plan) -> Path:
    """Where the plan of a command is kept."""
    return planned.out / ("confirm.json" if planned.chosen else "grid.json")


def manifest(planned: Plan, argv: Sequence[str], program: str = GRID) -> dict[str, Any]:
    """The plan as JSON: the grid, the names of its evaluation, its metrics, its recipes, the parts of its formulations, and
    its cells.

    There is a recipe for each dataset, model and training; a cell names it by its place in the list.
    """
    evaluation, look = planned.grid.evaluation, by_cell(planned.grid)
    cells, alike = [p.cell for p in planned.cells], dict[tuple[str, Model, Training], Cell]()
    for cell in cells:
        alike.setdefault((cell.dataset, cell.model, cell.training), cell)
    places = {kind: place for place, kind in enumerate(alike)}
    found = {
        "grid": full(planned.grid),
        "program": program,
        "command": list(argv),
        "evaluation": evaluation.id,
        "sampling": evaluation.sampling,
        "metrics": [asdict(metric) for metric in columns(evaluation.metrics)],
        "recipes": [recipe(cell, evaluation, look) for cell in alike.values()],
        "formulations": {name: parts(name) for name in formulations_of(planned)},
        "cells": [
            {
                "cell": cell.id,
                "formulation": cell.formulation,
                "dataset": cell.dataset,
                "seed": cell.seed,
                "recipe": places[cell.dataset, cell.model, cell.training],
            }
            for cell in cells
        ],
    }
    parts_of = {"chosen": planned.chosen, "race": planned.course, "against": planned.against}
    return found | {name: asdict(part) for name, part in parts_of.items() if part}


def recipe(cell: Cell, evaluation: Evaluation, look: Look) -> dict[str, Any]:
    """How a cell is trained and measured, and the size of that: parameters, and operations of its training steps."""
    return {
        "recipe": cell.recipe | {"evaluation": evaluation.recipe},
        "parameters": look(cell).shape.parameters(),
        "train_flops": sum(look(each).steps for each in (*cell.ancestors, cell)),
    }


def parts(name: str) -> dict[str, str | None]:
    """What a formulation's name is made of: a base, and the timestep sampler behind it, ``uniform`` if none is named.

    All of EDM's have the base ``edm``, which their own names do not show: ``edm(0.00,0.60)`` is ``edm`` with
    ``lognorm(0.00,0.60)``. A plugin's formulation has a sampler of its own, or None if that has no name.
    """
    spec = read(name)
    base, sampler = spec.base, spec.sampler or "uniform"
    if spec.target and spec.path and (spec.target.word, spec.path.word) == ("F", "ve"):
        base = "edm" if spec.target.args == (0.5,) else f"{spec.target}/{spec.path}"
    base += (f"@{spec.space}" if spec.space else "") + (f"+{spec.weight}" if spec.weight else "")
    if spec.plugin and spec.sampler is None:
        return {"base": base, "sampler": formulations.get(name).law.name or None}
    return {"base": base, "sampler": sampler}
