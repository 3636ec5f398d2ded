"""Settings that contradict each other: allowed, and told in one sentence each, before anything is trained. No torch."""

from __future__ import annotations

from collections.abc import Iterator

from bench.config import Grid


def warnings(grid: Grid) -> list[str]:
    """A sentence for each contradiction in a grid."""
    return list(_warnings(grid))


def _warnings(grid: Grid) -> Iterator[str]:
    recipe, evaluation = grid.training, grid.evaluation
    guided = [s.key for s in evaluation.settings if s.cfg != 1]
    without = [s.key for s in evaluation.settings if s.cfg != 0]
    if recipe.dropout == 0 and guided:
        yield (
            f"--dropout 0: no network sees an empty caption in training, and guidance ({', '.join(guided)}) needs what it "
            f"makes of one: take a --dropout above 0, or guidance 1"
        )
    if recipe.dropout == 1 and without:
        yield "--dropout 1: no network sees a caption in training, so images have nothing to do with theirs"
    for training in grid.trainings:
        if training.warmup > training.steps:
            yield (
                f"--warmup {training.warmup} is longer than the run of {training.steps} steps, which ends at "
                f"{training.steps / training.warmup:.0%} of the learning rate"
            )
        elif training.decay and training.warmup > (1 - training.decay) * training.steps:
            yield (
                f"--warmup {training.warmup} overlaps the last {training.decay:.0%} of {training.steps} steps, over which "
                f"the rate falls: it never reaches --lr {training.lr:g}"
            )
        if training.validations > training.steps:
            yield (
                f"--validations {training.validations} are more than {training.steps} steps: there are {training.steps}"
            )
    if recipe.validation_images > grid.images.validation:
        yield (
            f"--validation-batch {recipe.validation_images} is more than {grid.images.validation} validation images: some "
            f"count twice"
        )
