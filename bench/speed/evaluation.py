"""The parts ``generate``, ``data`` and ``metrics``: what images cost to sample, to render and to measure."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.config.experiment import Evaluation, Images
from bench.config.presets import HEADLINE, preset
from bench.config.sampling_settings import Setting
from bench.data import shapes
from bench.encoders import extractor, features
from bench.metrics.frechet import Moments, frechet
from bench.parity.inception_peers import OURS, extractors, random_weights
from bench.parity.peer_metrics import FRECHET, TOLERANCE, difference
from bench.sampling.generate import generate as sampled
from bench.sampling.generate import start_noise
from bench.speed.sizes import Scope
from bench.speed.timing import Row, clocked, pair
from bench.training.trainer import Trainer
from bench.worker.setup import make
from flowbench._core.errors import UserError
from formulations import Formulation, get

PER = "s per 1,000 images"
TIMED = ("clean-fid", "torch-fidelity")
"""Libraries that ours is timed against."""


def generate(scope: Scope) -> Iterator[Row]:
    """Images of six members sampled together against one after another, over the study's sampler settings.

    Six formulations of the size of the preset ``quick``, untrained, sample the same captions by all six settings (50 steps
    with guidance 1, 2.5 and 5; 5, 10 and 25 steps with guidance 5). The line is images per second of all settings together.
    """
    usual = preset("smoke" if scope.tiny else "quick")
    images = Images(usual.images.resolution, train=128, validation=64)
    evaluation = replace(usual.evaluation, samples=4 if scope.tiny else 64)
    grid = replace(usual, images=images, evaluation=evaluation)
    settings = (Setting(2, 1.0), Setting(1, 5.0)) if scope.tiny else Evaluation().settings
    setup = make("shapes", grid, scope.device)
    shape = setup.shape(grid.model)
    captions, count = setup.captions.rows(setup.chosen), len(setup.chosen)
    noise = start_noise("speed", count, (shape.channels, shape.resolution, shape.resolution))

    def sampler(members: Sequence[Formulation]) -> Callable[[], None]:
        trainer = Trainer(shape, len(members), grid.training, scope.device)
        network = trainer.model, trainer.flat, trainer.flat.weights

        def sample() -> None:
            for setting in settings:
                for _ in sampled(*network, members, setup.captions, captions, noise, setting):
                    pass

        return sample

    members = [get(name) for name in HEADLINE]
    singly = [sampler([one]) for one in members]
    timed = pair(sampler(members), lambda: [sample() for sample in singly], scope.turns, warmups=1)
    total, what = 1000 * len(members) * len(settings) * count, f"{len(settings)} settings of {count} images"
    ours, other = total / timed.ours, total / timed.other
    what = f"{len(members)} members, {what}"
    yield Row(what, ours, "images/s", other, 1 / timed.ratio, "one after another")


def data(scope: Scope) -> Iterator[Row]:
    """Seconds to draw and render 20,000 scenes of ``shapes``, at each resolution."""
    count = 200 if scope.tiny else 20_000
    for pixels in (16, 32):
        times = [clocked(partial(pictures, count, pixels)) for _ in range(scope.turns)]
        yield Row(f"render {count:,} shapes at {pixels} px", statistics.median(times) / 1000, "s")


def pictures(count: int, pixels: int) -> Tensor:
    """The first ``count`` pictures of ``shapes``, uint8 ``[count, 3, pixels, pixels]``."""
    return torch.from_numpy(shapes.render(shapes.scenes(np.arange(count)), pixels))


def metrics(scope: Scope) -> Iterator[Row]:
    """Fréchet distance and feature extraction per 1,000 images, against clean-fid and torch-fidelity.

    The time of the shipped extractor, the distance at its dimension and at Inception's, and the time of Inception, with
    random weights (:mod:`bench.parity.inception_peers`). Values are compared before anything is timed: a difference of more
    than 1e-3 is an error.
    """
    count = 100 if scope.tiny else 1000
    images = pictures(3 * count, 16)
    model = extractor("tinyclip", str(scope.device))
    found = features(model, images)
    seconds = clocked(lambda: features(model, images[:count])) / count
    yield Row(f"features of {model.name}", seconds, PER)
    yield from distances(found, count, scope)
    yield from distances(synthetic(3 * count, 128 if scope.tiny else 2048), count, scope)
    yield from extraction(scope)


def synthetic(count: int, dim: int) -> Tensor:
    """Features ``[count, dim]`` like Inception's: not negative, correlated, with a falling spectrum; seeded."""
    generator = torch.Generator().manual_seed(0)
    falling = torch.exp(-4 * torch.arange(dim) / dim)[:, None]
    mixing = falling * torch.randn(dim, dim, generator=generator) / dim**0.5
    return torch.relu(torch.randn(count, dim, generator=generator) @ mixing + 0.1)


def distances(found: Tensor, count: int, scope: Scope) -> Iterator[Row]:
    """Our distance of the first ``count`` rows to precomputed statistics of the others, as all three libraries are used."""
    images, reference = found[:count], found[count:]
    moments = Moments.of(reference)
    what = f"Fréchet distance of {count:,} images, {found.shape[1]} features"

    def ours() -> float:
        return frechet(Moments.of(images), moments)

    for name in TIMED:
        theirs = FRECHET[name](images, reference)
        try:
            values = ours(), theirs()
        except (UserError, ValueError, np.linalg.LinAlgError) as error:
            print(f"metrics: {name} cannot compute the distance of {found.shape[1]} features here: {error}")
            continue
        note = agreement(name, *values)
        yield pair(ours, theirs, scope.turns, warmups=0).row(what, name, note)


def extraction(scope: Scope) -> Iterator[Row]:
    """Our Inception features of small images against both libraries', after they agreed on images of 299 pixels.

    At 299 pixels none of them resizes; below it torch-fidelity uses another filter than clean-fid and we.
    """
    count = 2 if scope.tiny else 1024 if scope.gpu else 32
    with tempfile.TemporaryDirectory() as folder:
        found = extractors(Path(folder), random_weights(Path(folder)), scope.device)
        mine, large, small = found[OURS], pictures(2, 299), pictures(count, 32)
        for name, theirs in ((name, found[name]) for name in TIMED):
            expected = theirs(large)  # first: the other's warning comes before ours
            note = agreement(name, mine(large), expected)
            timed = pair(partial(mine, small), partial(theirs, small), scope.turns, warmups=1)
            ours, other = timed.ours / count, timed.other / count
            yield Row("Inception features", ours, PER, other, timed.ratio, name, note)


def agreement(name: str, ours: Any, theirs: Any) -> str:
    """The largest difference as a share of the largest value, in words. Raises :class:`UserError` if it is too large."""
    found = difference(ours, theirs)
    if not found <= TOLERANCE:
        raise UserError(
            f"our value differs from {name}'s by {found:.1e} of it, more than {TOLERANCE:g}: "
            "the two do not compute the same, so their times are not compared"
        )
    return f"values agree: largest difference {found:.0e} of them" if found else "values are equal"
