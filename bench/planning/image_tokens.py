"""What of a grid depends on the image tokens of its networks: shifts of samplers and of time grids. No torch."""

from __future__ import annotations

from dataclasses import replace

from bench import data
from bench.config.experiment import Grid, Images, Model
from flowbench._core.errors import UserError
from samplers.resolution_shift import at_tokens, needs_tokens


def image_tokens(dataset: str, images: Images, model: Model) -> int:
    """Patches of one image of a dataset. Raises :class:`UserError`."""
    _, side, _ = data.get(dataset).shape(images.resolution)
    return int((side // model.patch) ** 2)


def resolved(grid: Grid) -> Grid:
    """A grid whose ``fluxshift`` and ``sd3shift`` are shifts by a number, of samplers and of time grids.

    Raises:
        UserError: if its datasets have different numbers of image tokens, and so need different numbers.
    """
    evaluation = grid.evaluation
    if not any(
        map(needs_tokens, (*grid.formulations, *grid.samplers, *(s.grid for s in evaluation.settings)))
    ):
        return grid
    settings = tuple(replace(s, grid=named(s.grid, grid)) for s in evaluation.settings)
    return replace(
        grid,
        formulations=tuple(named(name, grid) for name in grid.formulations),
        samplers=tuple(named(name, grid) for name in grid.samplers),
        evaluation=replace(evaluation, settings=settings),
    )


def named(name: str, grid: Grid) -> str:
    """A name of a sampler, a formulation or a time grid for the networks of a grid. Raises :class:`UserError`."""
    return at_tokens(name, tokens_of(grid)) if needs_tokens(name) else name


def tokens_of(grid: Grid) -> int:
    """The image tokens of every network of a grid. Raises :class:`UserError` unless they are the same."""
    counts = {name: image_tokens(name, grid.images, grid.model) for name in grid.datasets}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{count} on {name}" for name, count in counts.items())
        raise UserError(
            f"fluxshift and sd3shift need one number of image tokens, and here it is {shown}: run the datasets one by one"
        )
    return next(iter(counts.values()))
