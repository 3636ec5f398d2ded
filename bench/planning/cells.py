"""From a grid to its cells: formulations, stages and recipes by their canonical names. No torch."""

from __future__ import annotations

from collections.abc import Iterable

import formulations
from bench import data, objectives, optimisers
from bench.config import kept_weights
from bench.config.experiment import Cell, Grid, Init, Model, Training
from bench.config.presets import HEADLINE
from bench.planning.network_sizes import models_of
from flowbench._core.errors import UserError
from flowbench._core.plugin import behind


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


def cells_of(grid: Grid) -> list[Cell]:
    """The cells of a grid's last stage in a fixed order."""
    names, models, trainings = expand(grid), models_of(grid), trainings_of(grid)
    earlier = [canonical_recipe(stage.training) for stage in grid.earlier]

    def parent(name: str, dataset: str, seed: int, model: Model) -> Init | None:
        init = None
        for stage, training in zip(grid.earlier, earlier, strict=True):
            place = stage.dataset or dataset
            cell = Cell(name, place, seed, model, stage.images, training, grid.text, init)
            init = Init(cell, stage.weights)
        return init

    return [
        Cell(name, dataset, seed, model, grid.images, training, grid.text, parent(name, dataset, seed, model))
        for dataset in grid.datasets
        for seed in grid.every_seed
        for model in models
        for training in trainings
        for name in names
    ]


def parents_of(cells: Iterable[Cell]) -> list[Cell]:
    """The cells of earlier stages that ``cells`` build on, each once and before those that build on it."""
    found = {cell.id: cell for each in cells for cell in each.ancestors}
    return sorted(found.values(), key=lambda cell: len(cell.ancestors))


def every_cell(grid: Grid) -> list[Cell]:
    """The cells of all stages of a grid, each after its parent."""
    last = cells_of(grid)
    return [*parents_of(last), *last]


def datasets_of(grid: Grid) -> list[str]:
    """The datasets of all stages."""
    return list(dict.fromkeys([*grid.datasets, *(s.dataset for s in grid.earlier if s.dataset)]))


def check_stages(grid: Grid) -> None:
    """Raises :class:`UserError` for stages on datasets that need other networks."""
    last = data.get(grid.datasets[0]).shape(grid.images.resolution)
    for stage in grid.earlier:
        if stage.dataset and (shape := data.get(stage.dataset).shape(grid.images.resolution)) != last:
            raise UserError(
                f"--stage dataset={grid.datasets[0]}: its inputs are {list(last)}, and a network for the {list(shape)} of "
                f"{stage.dataset} cannot read them: choose a dataset of the same sizes"
            )


def check_weights(grid: Grid) -> None:
    """Raises :class:`UserError` for weights of a milestone that the last stage does not keep."""
    for name in grid.evaluation.weights:
        fraction = kept_weights.milestone(name)
        if fraction is not None and fraction not in grid.training.milestones:
            kept = ",".join(f"{each:g}" for each in sorted({*grid.training.milestones, fraction}))
            add = f"milestones={kept} to the last --stage" if grid.earlier else f"--milestones {fraction:g}"
            raise UserError(f"--weights {name}: the training does not keep them, add {add}")


def trainings_of(grid: Grid) -> list[Training]:
    """The grid's recipes, each with the canonical names of its optimiser and its objective. Raises :class:`UserError` for an
    unknown one, and for an option that the optimiser ignores."""
    return [canonical_recipe(training) for training in grid.trainings]


def canonical_recipe(training: Training) -> Training:
    """A recipe with canonical names. Raises :class:`UserError`."""
    return objectives.canonical(optimisers.canonical(training))


def plugins_of(recipe: Training) -> list[str]:
    """The plugin files behind a recipe's optimiser and its objective."""
    parts = (recipe.optimiser, "optimiser"), (recipe.objective, "objective")
    return [file for name, kind in parts if (file := behind(name, (kind,)))]
