"""The networks of a grid, of one size or with the widths at which all have as many parameters, or operations. No torch.

The first network is of the model's size. Another one has the width whose count is nearest to the first one's, with heads
that are nearly as wide. Its depth, patch and number of training steps are the same, so equal operations of a forward pass
are equal operations of a training.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

from bench import data, encoders
from bench.config.experiment import Grid, Model
from bench.models.architecture import canonical, get
from bench.models.shape import Shape
from bench.planning.requirements import Requirements
from flowbench._core.errors import UserError

WIDER = 1.6
"""How much wider or narrower heads may be."""
FAR = 1.2
"""Counts whose ratio is larger are not equal."""
COUNTS: dict[str, Callable[[Shape], int]] = {"parameters": Shape.parameters, "flops": Shape.flops}
"""What networks can be equal in, beyond their size."""


def check(grid: Grid) -> None:
    """Raises :class:`UserError` for a network that cannot have its size, or is for more sets of text tokens."""
    sets = encoders.get(grid.text).sets
    for model in grid.models:
        if get(model.architecture).text_sets > sets:
            raise UserError(
                f"--model {model.architecture}: it has separate weights for two sets of text tokens, and --text "
                f"{grid.text} gives one: choose an encoder that joins CLIP and T5, as sd3:clip_l=PATH,t5=PATH"
            )
    for dataset in grid.datasets:
        channels, edge, _ = data.get(dataset).shape(grid.images.resolution)
        for model in grid.models if grid.equal == "size" else grid.models[:1]:
            sizes = model.depth, *model.sizes, model.patch, edge, channels
            shape = Shape(
                *sizes, text_length=0, text_width=0, pooled_width=0, architecture=model.architecture
            )
            shape.kind.check(shape)


def models_of(grid: Grid) -> list[Model]:
    """The grid's networks, each by its canonical name.

    Raises:
        UserError: for an unknown one, one that has no width at which it equals the first, and datasets that ask for
            different widths.
    """
    models = [replace(model, architecture=canonical(model.architecture)) for model in grid.models]
    if grid.equal != "size":
        models = [matched(grid, model, models[0]) for model in models]
    return list(dict.fromkeys(models))


def matched(grid: Grid, model: Model, first: Model) -> Model:
    """A network with the width and heads at which it equals the first one, on every dataset."""
    if model == first:
        return model
    found: dict[Model, str] = {}
    for dataset in grid.datasets:
        alone = replace(grid, model=first, networks=(), equal="size")
        goal = Requirements(alone, dataset).shape
        near = nearest(replace(goal, architecture=model.architecture), goal, COUNTS[grid.equal])
        found[replace(model, width=near.width, heads=near.heads)] = dataset
    if len(found) > 1:
        widths = ", ".join(f"{each.sizes[0]} on {name}" for each, name in found.items())
        raise UserError(
            f"--equal {grid.equal}: the width of {model.architecture} depends on the dataset ({widths}): run the datasets "
            f"one by one"
        )
    return next(iter(found))


def nearest(shape: Shape, goal: Shape, count: Callable[[Shape], int]) -> Shape:
    """A shape of another width whose count is that of the ``goal``, nearly. Raises :class:`UserError` if none can be."""

    def unlike(each: Shape) -> tuple[float, float]:
        return abs(math.log(count(each) / count(goal))), abs(math.log(wide(each, goal)))

    found = min(candidates(shape, goal, count), key=unlike, default=None)
    if found is None or unlike(found)[0] > math.log(FAR):
        shape.kind.check(shape)
        raise UserError(
            f"--equal: the network {shape.architecture} has no width at which it nearly equals {goal.architecture} of width "
            f"{goal.width}: take a larger --width, or leave it out"
        )
    return found


def candidates(shape: Shape, goal: Shape, count: Callable[[Shape], int]) -> Iterator[Shape]:
    """For each number of heads the possible widths on both sides of the goal's count."""
    for heads in range(max(1, goal.heads // 2), 4 * goal.heads + 1):
        sizes, wanted = [replace(shape, heads=heads, width=4 * heads)], count(goal)
        while count(sizes[-1]) < wanted:
            sizes.append(replace(shape, heads=heads, width=2 * sizes[-1].width))
        widths = range(4 * heads, sizes[-1].width + 1, 4 * heads)
        counts = [count(replace(shape, heads=heads, width=width)) for width in widths]
        above = bisect_left(counts, wanted)
        for width in widths[max(0, above - 4) : above + 4]:
            each = replace(shape, heads=heads, width=width)
            with suppress(UserError):  # a width that the network cannot have
                each.kind.check(each)
                if 1 / WIDER <= wide(each, goal) <= WIDER:
                    yield each


def wide(shape: Shape, goal: Shape) -> float:
    """The width of its heads, of the goal's."""
    return shape.width / shape.heads / (goal.width / goal.heads)
