"""Dropping the networks of a text encoder that joins several, one by one: whether the encoder of a grid can. No torch."""

from __future__ import annotations

from bench import encoders
from bench.config.experiment import Grid
from bench.config.sampling_settings import Setting
from flowbench._core.errors import UserError, nearest


def check(grid: Grid) -> None:
    """Raises :class:`UserError` if a training or a sampler setting drops networks that the encoder does not have, and for
    what stands for dropped captions if none is dropped."""
    for setting in grid.evaluation.settings:
        check_setting(setting, grid.text)
    recipe = grid.training
    unguided = all(s.passes == 1 and not s.dropped for s in grid.evaluation.settings)
    if recipe.dropped == "empty" and recipe.dropout == recipe.drop_encoders == 0 and unguided:
        raise UserError(
            "--dropped empty: neither training nor a sampler setting drops a caption: take a --dropout above 0"
        )
    parts = encoders.get(grid.text).parts
    for training in (*(stage.training for stage in grid.earlier), *grid.trainings):
        if training.drop_encoders and len(parts) < 2:
            raise UserError(
                f"--drop-encoders {training.drop_encoders:g}: --text {grid.text} is a single network, whose captions "
                f"--dropout drops: choose one that joins several, as sd3:clip_l=PATH,clip_g=PATH,t5=PATH"
            )


def check_setting(setting: Setting, text: str) -> None:
    """Raises :class:`UserError` if a sampler setting drops a network that the encoder ``text`` does not have."""
    parts = encoders.get(text).parts
    for name in setting.dropped:
        if name not in parts:
            instead = nearest(name, parts) if parts else "it is a single network"
            raise UserError(
                f"sampler setting {setting.key}: --text {text} has no network {name!r}; {instead}"
            )
