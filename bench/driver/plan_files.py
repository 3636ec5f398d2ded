"""Writes the plan of a command to its run folder: as :mod:`bench.runfolder.manifest` and, as options, to ``config.toml``
(:mod:`bench.cli.config_file`). No torch, but for formulations of plugins that import it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import formulations
from bench.cli import config_file
from bench.config.experiment import Cell, Evaluation, Model, Training
from bench.config.identity import canonical, full
from bench.metrics.run_metrics import columns
from bench.planning.plan import Plan, formulations_of
from bench.planning.requirements import Look, by_cell
from bench.runfolder.manifest import FILES, PROGRAM, Manifest, PlannedCell, Recipe
from flowbench._core import atomic
from formulations.specs import read


def write(planned: Plan, argv: Sequence[str], program: str = PROGRAM, plugins: Sequence[Path] = ()) -> None:
    """Write the plan of the command ``python -m PROGRAM ARGV`` to its place, and its experiment, which needs ``plugins``."""
    made = manifest_of(planned, argv, program)
    atomic.write_json(planned.out / FILES[made.phase], made.json())
    if not planned.chosen:
        atomic.write_text(planned.out / config_file.NAME, config_file.text(planned, plugins))


def manifest_of(planned: Plan, argv: Sequence[str], program: str = PROGRAM) -> Manifest:
    """The plan as it is kept.

    There is a recipe for each dataset, model and training; a cell names it by its place in the list.
    """
    evaluation, look = planned.grid.evaluation, by_cell(planned.grid)
    cells, alike = [p.cell for p in planned.cells], dict[tuple[str, Model, Training], Cell]()
    for cell in cells:
        alike.setdefault((cell.dataset, cell.model, cell.training), cell)
    places = {kind: place for place, kind in enumerate(alike)}
    return Manifest(
        phase="confirm" if planned.chosen else "rank",
        program=program,
        command=tuple(argv),
        grid=full(planned.grid),
        evaluation=evaluation.id,
        sampling=evaluation.sampling,
        metrics=tuple(asdict(metric) for metric in columns(evaluation.metrics)),
        recipes=tuple(recipe(cell, evaluation, look) for cell in alike.values()),
        parts={name: parts(name) for name in formulations_of(planned)},
        cells=tuple(
            PlannedCell(c.id, c.formulation, c.dataset, c.seed, places[c.dataset, c.model, c.training])
            for c in cells
        ),
        chosen=full(planned.chosen) if planned.chosen else {},
        race=full(planned.course) if planned.course else {},
        against=full(planned.against) if planned.against else {},
    )


def recipe(cell: Cell, evaluation: Evaluation, look: Look) -> Recipe:
    """How a cell is trained and measured, and the size of that: parameters, and operations of its training steps."""
    return Recipe(
        canonical(cell.recipe | {"evaluation": evaluation.recipe}),
        look(cell).shape.parameters(),
        float(sum(look(each).steps for each in (*cell.ancestors, cell))),
        float(sum(look(each).steps for each in cell.ancestors)),
    )


def parts(name: str) -> tuple[str, str | None]:
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
        return base, formulations.get(name).law.name or None
    return base, sampler
