"""Whether the parameters of every training can be divided among its replicas. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from bench import objectives, optimisers
from bench.config.experiment import Cell, Grid
from bench.planning.requirements import by_cell
from bench.runfolder.submission import Execution
from flowbench._core.errors import UserError


def check(cells: Sequence[Cell], grid: Grid, execution: Execution) -> None:
    """Raises :class:`UserError` for a network, an optimiser or an objective of any of these cells of the grid that needs all
    of them at once."""
    if execution.shards == 1:
        return
    given, look = f"--shard {execution.shard}", by_cell(grid)
    for shape in {look(cell).shape for cell in cells}:
        if shape.kind.recomputed(shape) is None:
            raise UserError(
                f"{given}: the network {shape.architecture} declares no blocks to divide: leave it out"
            )
    for training in {cell.training for cell in cells}:
        if not optimisers.get(training.optimiser).elementwise:
            raise UserError(
                f"{given}: the optimiser {training.optimiser} needs whole parameters: leave it out, or choose adamw"
            )
        if frozen := objectives.get(training.objective).frozen:
            raise UserError(
                f"{given}: the objective {training.objective} reads a second network, {frozen[0]}, which is not divided: "
                f"leave it out"
            )
