"""Stages of training: one that follows another is given by what changes, ``dataset=digits,steps=200,lr=1e-4``. No torch.

The keys are options of an experiment that a stage can change: those of its training, its dataset, how many images of it,
and the ``weights`` of the stage before that it begins with. All else is the same in every stage.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any, get_args

from bench.config.experiment import Grid, Images, Stage, Training
from bench.config.kept_weights import Weights
from bench.config.limits import flag
from flowbench._core.errors import UserError, nearest
from flowbench._core.grammar import split_top

FORM = "option=value,..."


def key(name: str) -> str:
    """The key of a field: its option without dashes."""
    return flag(name).removeprefix("--")


PARTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("training", {key(f.name): f for f in fields(Training)}),
    ("images", {key(f.name): f for f in fields(Images) if f.name != "resolution"}),
)
"""The fields that a stage can change, by part of a grid and by key."""
KEYS = ("dataset", "weights", *(name for _, part in PARTS for name in part))


def follow(grid: Grid, text: str) -> Grid:
    """The grid with one more stage, which changes what ``text`` names. Raises :class:`UserError`."""
    given = pairs(text)
    dataset = given.get("dataset", "")
    if dataset and len(grid.datasets) > 1:
        raise UserError(
            f"--stage dataset={dataset} follows several --datasets ({' '.join(grid.datasets)}): choose one of them"
        )
    weights = given.get("weights", "ema")
    if weights not in get_args(Weights):
        raise UserError(f"--stage weights={weights}: {nearest(weights, get_args(Weights))}")
    changes = {
        part: {f.name: value(name, f, given[name]) for name, f in known.items() if name in given}
        for part, known in PARTS
    }
    another = grid.datasets[0] if dataset and dataset != grid.datasets[0] else None
    before = Stage(grid.training, grid.images, another, weights)  # type: ignore[arg-type]
    earlier = tuple(
        each if each.dataset or not another else replace(each, dataset=another) for each in grid.earlier
    )
    try:
        return replace(
            grid,
            datasets=(dataset,) if dataset else grid.datasets,
            training=replace(grid.training, **changes["training"]),
            images=replace(grid.images, **changes["images"]),
            earlier=(*earlier, before),
        )
    except UserError as error:
        raise UserError(f"--stage {text}: {error}") from None


def pairs(text: str) -> dict[str, str]:
    """The keys and values of a stage; a part without ``=`` belongs to the value before. Raises :class:`UserError`."""
    found: dict[str, str] = {}
    last = ""
    for part in split_top(text, ","):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals and last:
            found[last] += f",{part}"
            continue
        if not equals or not value:
            raise UserError(f"--stage {text!r}: {part!r} is no {FORM}, for example steps=200,lr=1e-4")
        if name not in KEYS:
            raise UserError(f"--stage {text!r}: a stage has no {name!r}; {nearest(name, KEYS)}")
        if name in found:
            raise UserError(f"--stage {text!r} gives {name} twice: leave one of them out")
        found[name], last = value, name
    return found


def value(name: str, field: Any, text: str) -> Any:
    """A value of the type of its field's default. Raises :class:`UserError`."""
    kind = type(field.default)
    try:
        return tuple(map(float, text.split(","))) if kind is tuple else kind(text)
    except ValueError:
        what = {int: "a whole number", float: "a number"}.get(kind, "numbers")
        raise UserError(
            f"--stage {name}={text}: {what} is wanted, for example {shown(field.default)}"
        ) from None


def first(grid: Grid) -> Grid:
    """A grid with only its first stage."""
    if not grid.earlier:
        return grid
    stage = grid.earlier[0]
    datasets = (stage.dataset,) if stage.dataset else grid.datasets
    return replace(grid, datasets=datasets, training=stage.training, images=stage.images, earlier=())


def texts(grid: Grid) -> list[str]:
    """What each stage after the first one changes: :func:`follow` makes the grid of :func:`first` with them."""
    last = Stage(grid.training, grid.images)
    stages = (*grid.earlier, last)
    names = [stage.dataset or grid.datasets[0] for stage in stages]
    return [
        ",".join(changed(before, after, a, b))
        for before, after, a, b in zip(stages, stages[1:], names, names[1:], strict=False)
    ]


def changed(before: Stage, after: Stage, a: str, b: str) -> Iterator[str]:
    """``steps=200``, ``lr=0.0001``: in what a stage on ``b`` differs from the one before it on ``a``."""
    if a != b:
        yield f"dataset={b}"
    for part, known in PARTS:
        old, new = getattr(before, part), getattr(after, part)
        for name, f in known.items():
            if getattr(old, f.name) != getattr(new, f.name):
                yield f"{name}={shown(getattr(new, f.name))}"
    yield f"weights={before.weights}"


def shown(value: Any) -> str:
    """A value as a stage has it."""
    return ",".join(map(repr, value)) if isinstance(value, tuple) else str(value)
