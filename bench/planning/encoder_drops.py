"""Dropping the networks of a text encoder that joins several, one by one: whether the encoder of a grid can. No torch."""

from __future__ import annotations

from bench import encoders
from bench.config.experiment import Grid
from flowbench._core.errors import UserError


def check(grid: Grid) -> None:
    """Raises :class:`UserError` if a training drops networks of an encoder that is a single one."""
    parts = encoders.get(grid.text).parts
    for training in (*(stage.training for stage in grid.earlier), *grid.trainings):
        if training.drop_encoders and len(parts) < 2:
            raise UserError(
                f"--drop-encoders {training.drop_encoders:g}: --text {grid.text} is a single network, whose captions "
                f"--dropout drops: choose one that joins several, as sd3:clip_l=PATH,clip_g=PATH,t5=PATH"
            )
