"""``generate``: images of six members sampled together against one after another, over the study's sampler settings.

Six formulations of the size of the preset ``quick``, untrained, sample the same captions by all six settings (50 steps
with guidance 1, 2.5 and 5; 5, 10 and 25 steps with guidance 5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch

from bench.config.experiment import Evaluation, Grid, Images
from bench.config.presets import HEADLINE, preset
from bench.config.settings import Setting
from bench.sampling.generate import generate, start_noise
from bench.speed.options import Plan
from bench.speed.timing import Row, pair
from bench.training.train import Trainer
from bench.worker.setup import Setup, make
from formulations import Formulation, get


def rows(plan: Plan) -> Iterator[Row]:
    """One line: images per second of all settings together."""
    settings = (Setting(2, 1.0), Setting(1, 5.0)) if plan.tiny else Evaluation().settings
    grid = small_grid(plan)
    setup = make("shapes", grid, plan.device)
    formulations = [get(name) for name in HEADLINE]
    together = sampler(setup, grid, formulations, settings, plan.device)
    singly = [sampler(setup, grid, [one], settings, plan.device) for one in formulations]
    timed = pair(together, lambda: [sample() for sample in singly], plan.turns("generate"), warmups=1)
    images = len(formulations) * len(settings) * len(setup.chosen)
    yield Row(
        "generate",
        f"{len(formulations)} members, {len(settings)} settings of {len(setup.chosen)} images",
        1000 * images / timed.ours,
        "images/s",
        1000 * images / timed.other,
        1 / timed.ratio,
        "one after another",
    )


def small_grid(plan: Plan) -> Grid:
    """The preset ``quick`` (``smoke`` for a tiny run) on few images."""
    samples = 4 if plan.tiny else 64
    found = preset("smoke" if plan.tiny else "quick")
    return replace(
        found,
        images=Images(found.images.resolution, train=128, validation=64),
        evaluation=replace(found.evaluation, samples=samples),
    )


def sampler(
    setup: Setup,
    grid: Grid,
    formulations: Sequence[Formulation],
    settings: Sequence[Setting],
    device: torch.device,
) -> Callable[[], None]:
    """A function that samples the chosen captions by every setting."""
    shape = setup.shape(grid.model, grid.images.resolution)
    trainer = Trainer(shape, len(formulations), grid.training, device)
    noise = start_noise("speed", len(setup.chosen), (shape.channels, shape.resolution, shape.resolution))
    captions = setup.captions.rows(setup.chosen)

    def sample() -> None:
        for setting in settings:
            for _ in generate(
                trainer.model,
                trainer.flat,
                trainer.flat.weights,
                formulations,
                setup.captions,
                captions,
                noise,
                setting,
            ):
                pass

    return sample
