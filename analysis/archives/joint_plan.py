"""The plan of several archives as one: equal but for the seeds, which are one range without a gap."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise, zip_longest
from typing import Any

from analysis.runs.declared import metrics_of
from analysis.runs.recipe_fields import differing
from bench.runfolder.manifest import Manifest, PlannedCell
from flowbench._core.errors import UserError

SEEDS = ("seeds", "first_seed")
NAMES = ("formulations", "samplers")
"""Fields of a grid that stand for the names of formulations, which are compared themselves."""
SETS: Mapping[str, Callable[[Manifest], set[str]]] = {
    "data set": lambda plan: {cell.dataset for cell in plan.cells},
    "formulation": lambda plan: {cell.formulation for cell in plan.cells},
}
CLOSE = {"rel_tol": 1e-3, "abs_tol": 1e-6}
"""Measurements of real images that are this close differ by the rounding of two machines."""


def check(plans: Mapping[str, Manifest]) -> None:
    """Check that plans, by the names of their sources, can be one.

    Raises `UserError` naming the first difference, a race, or a seed that lies between others and is missing.
    """
    (name, first), *others = plans.items()
    for other, plan in others:
        if difference := _difference({name: first, other: plan}):
            raise UserError(
                f"{name!r} and {other!r} cannot be one archive, as {difference}: name sources that differ in seeds only"
            )
    if others and first.race:
        raise UserError(
            f"{name!r} and {others[0][0]!r} are races, each decided by its own seeds: archive each by itself"
        )
    seeds = sorted({cell.seed for plan in plans.values() for cell in plan.cells})
    for before, after in pairwise(seeds):
        if after - before > 1:
            raise UserError(
                f"the sources have seeds {before} and {after}, but none between: name a source that has them, "
                f"or run them with --first-seed {before + 1} --seeds {after - before - 1}"
            )


def _difference(plans: Mapping[str, Manifest]) -> str:
    """The first difference of two named plans besides their seeds, in words; empty if there is none."""
    one, other = plans.values()
    for what, of in SETS.items():
        for name, plan in plans.items():
            if apart := of(plan) - (of(one) & of(other)):
                return f"only {name!r} has the {what} {min(apart)}"
    grids = [{k: v for k, v in plan.grid.items() if k not in (*SEEDS, *NAMES)} for plan in (one, other)]
    recipes = zip_longest(
        *([recipe.text for recipe in plan.recipes] for plan in (one, other)), fillvalue="{}"
    )
    shared = {metric.name for metric in metrics_of(one)} & {metric.name for metric in metrics_of(other)}
    rest = [_rest(plan, shared) for plan in (one, other)]
    for pair in ([json.dumps(grid) for grid in grids], *recipes, [json.dumps(part) for part in rest]):
        for field, values in differing(pair).items():
            return f"{field} is {values[0]} and {values[1]}"
    return ""


def _rest(plan: Manifest, shared: Collection[str]) -> dict[str, Any]:
    """What must be equal beyond names and recipes; of the metrics that both have, what decides how values are compared."""
    declared = {metric.name: metric for metric in metrics_of(plan) if metric.name in shared}
    return {
        **{f"the direction of {name}": metric.higher_is_better for name, metric in sorted(declared.items())},
        **{f"the scale of {name}": metric.scale for name, metric in sorted(declared.items())},
        "the network's parameters": [recipe.parameters for recipe in plan.recipes],
        "the operations of a training": [recipe.train_flops for recipe in plan.recipes],
        "evaluation": plan.evaluation,
        "sampling": plan.sampling,
        "race": dict(plan.race),
        "against": dict(plan.against),
    }


def joined(plans: Sequence[Manifest], taken: Sequence[Collection[str]]) -> Manifest:
    """The joint plan, made of those that `check` has passed: the cells that are ``taken`` of each, by data set and seed, and
    the commands of the plans that any is taken of."""
    place = {key: i for i, key in enumerate(dict.fromkeys(_kind(c) for plan in plans for c in plan.cells))}
    parts = [[c for c in plan.cells if c.id in ids] for plan, ids in zip(plans, taken, strict=True)]
    datasets = list(dict.fromkeys(cell.dataset for cell in plans[0].cells))
    cells = sorted(
        (cell for part in parts for cell in part),
        key=lambda cell: (datasets.index(cell.dataset), cell.seed, place[_kind(cell)]),
    )
    commands = list(
        dict.fromkeys(one for plan, part in zip(plans, parts, strict=True) if part for one in plan.commands)
    )
    seeds = sorted({cell.seed for cell in cells})
    metrics = {metric["name"]: metric for plan in reversed(plans) for metric in plan.metrics}
    (program, command), *further = commands
    return replace(
        plans[0],
        program=program,
        command=command,
        further=tuple(further),
        cells=tuple(cells),
        metrics=tuple(metrics.values()),
        grid={**plans[0].grid, **dict(zip(SEEDS, (len(seeds), seeds[0]), strict=True))},
    )


def _kind(cell: PlannedCell) -> tuple[int, str]:
    return cell.recipe, cell.formulation


def real_images(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The measurements of real images by data set, of the first source that has them; ``found`` has those of all sources.

    Raises `UserError` for two that differ by more than rounding.
    """
    made: dict[str, Any] = {}
    owner: dict[str, str] = {}
    for name, datasets in found.items():
        for dataset, values in datasets.items():
            if dataset not in made:
                made[dataset], owner[dataset] = values, name
            for key in values.keys() & made[dataset].keys():
                one, other = made[dataset][key], values[key]
                if not close(one, other, **CLOSE):
                    raise UserError(
                        f"{owner[dataset]!r} and {name!r} have measured other real images of {dataset}: {key} is {one} and "
                        f"{other}; name only one of them"
                    )
    return made


def close(one: Any, other: Any, rel_tol: float, abs_tol: float) -> bool:
    """Whether two values are equal, numbers within a tolerance as `math.isclose` has it."""
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    return one == other or (numbers and math.isclose(one, other, rel_tol=rel_tol, abs_tol=abs_tol))
