"""Settings that contradict each other or cannot work: allowed, with a sentence each before anything is trained. No torch."""

from __future__ import annotations

from collections.abc import Iterator

from bench.config.experiment import Grid

MOST_RATE = 0.1
"""A learning rate above which hardly anything is learned: AdamW moves a weight by about as much in a step, and weights are
smaller. (``smoke``, 300 steps: up to 0.1 both formulations learn, at 1 none does, at 3 both end far above no training.)"""
LEAST_START = 1.0
"""A b / a below which sampling cannot begin: there the image outweighs the noise, and there is no image yet."""


def warnings(grid: Grid) -> Iterator[str]:
    """A sentence for each contradiction in a grid."""
    recipe, evaluation = grid.training, grid.evaluation
    guided = [s.key for s in evaluation.settings if s.passes > 1]
    without = [s.key for s in evaluation.settings if s.cfg != 0]
    if recipe.dropout == recipe.drop_encoders == 0 and guided:
        yield (
            f"--dropout 0: no network sees an empty caption in training, and guidance ({', '.join(guided)}) needs what it "
            f"makes of one: take a --dropout above 0, or guidance 1"
        )
    if 1 in (dropped := (recipe.dropout, recipe.drop_encoders)) and without:
        option = "--dropout" if dropped[0] == 1 else "--drop-encoders"
        yield f"{option} 1: no network sees a caption in training, so images have nothing to do with theirs"
    if recipe.optimiser == "adamw" and recipe.lr > MOST_RATE:
        yield (
            f"--lr {recipe.lr:g}: AdamW moves each weight by about that much in a step, more than most weights are: above "
            f"{MOST_RATE:g} hardly anything is learned"
        )
    if evaluation.start != "native" and evaluation.start < LEAST_START:
        yield (
            f"--start {evaluation.start:g}: sampling starts from noise, and at b/a = {evaluation.start:g} there is less "
            f"noise than image: take 80, as the paths do that cannot start from pure noise"
        )
    for training in (*(stage.training for stage in grid.earlier), *grid.trainings):
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
