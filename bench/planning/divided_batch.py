"""Whether the batch of every training divides into the equal parts that its steps are to have. No torch."""

from __future__ import annotations

from bench import objectives
from bench.config.experiment import Grid
from bench.runfolder.submission import Execution
from flowbench._core.errors import UserError


def check(grid: Grid, execution: Execution) -> None:
    """Raises :class:`UserError` for a batch of any stage that does not divide, or must not."""
    parts = execution.parts
    given = " ".join(
        f"--{name} {n}" for name in ("replicas", "accumulate") if (n := getattr(execution, name)) > 1
    )
    for training in (*(stage.training for stage in grid.earlier), grid.training) if parts > 1 else ():
        batch, objective = training.batch, objectives.get(training.objective)
        if objective.coupled:
            raise UserError(
                f"{given}: the objective {objective.name} couples the samples of a batch, which cannot be split: leave it "
                f"out"
            )
        if batch % parts:
            fitting = (count for count in range(1, batch + 1) if batch % count == 0)
            raise UserError(
                f"{given}: a batch of {batch} does not divide into {parts} equal parts, the nearest number is "
                f"{min(fitting, key=lambda count: abs(count - parts))}"
            )
