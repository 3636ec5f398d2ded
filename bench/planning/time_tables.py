"""Tables of times among the sampler settings of a grid: whether every formulation can be sampled with them."""

from __future__ import annotations

import formulations
from bench.config import time_grids
from bench.config.experiment import Grid
from bench.planning.cells import expand
from flowbench._core.errors import UserError
from formulations.grids import TABLES


def check(grid: Grid) -> None:
    """Raises :class:`UserError` for a table that some formulation's path does not reach, and next to ``--start``.

    Other grids cost nothing here; tables load torch.
    """
    for setting in grid.evaluation.settings:
        if (table := time_grids.listed(setting.grid)) is None:
            continue
        word, numbers = table
        if grid.evaluation.start != "native":
            raise UserError(
                f"sampler setting {setting.key}: a table begins at its first number, so that --start "
                f"{grid.evaluation.start} would change nothing: leave one of them out"
            )
        for name in expand(grid):
            try:
                TABLES[word](formulations.get(name), numbers)
            except UserError as error:
                raise UserError(f"sampler setting {setting.key}: {error}") from None
