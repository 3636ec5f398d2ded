"""``metrics``: Fréchet distance and feature extraction per 1,000 images, against clean-fid and torch-fidelity.

Distances are computed from the same features of 1,000 images to precomputed statistics of 2,000 others, as all three
libraries are used. Inception is the real architecture with random weights, the same for all, because no weights are
downloaded (:mod:`bench.speed.inception`). Values are compared before anything is timed: a difference of more than 1e-3
is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.data import shapes
from bench.encoders.extractors import extractor, features
from bench.metrics.frechet import Moments, frechet
from bench.speed import inception
from bench.speed.options import Plan
from bench.speed.peers import missing
from bench.speed.timing import Row, clocked, pair
from flowbench._core.errors import UserError

TOLERANCE = 1e-3
"""Largest relative difference between two libraries that are said to compute the same."""

PER = "s per 1,000 images"


def rows(plan: Plan) -> Iterator[Row]:
    """The shipped extractor's time, the distance at its dimension and at Inception's, and Inception's time."""
    count = 100 if plan.tiny else 1000
    images = pictures(3 * count, 16)
    model = extractor("tinyclip", str(plan.device))
    found = features(model, images)
    seconds = clocked(lambda: features(model, images[:count])) / count
    yield Row("metrics", f"features of {model.name}", seconds, PER)
    yield from distances(found, count, plan)
    yield from distances(synthetic(3 * count, 128 if plan.tiny else 2048), count, plan)
    yield from extraction(plan)


def pictures(count: int, pixels: int) -> Tensor:
    """The first ``count`` pictures of ``shapes``, uint8 ``[count, 3, pixels, pixels]``."""
    return torch.from_numpy(shapes.render(shapes.scenes(np.arange(count)), pixels))


def synthetic(count: int, dim: int) -> Tensor:
    """Features ``[count, dim]`` like Inception's: not negative, correlated, with a falling spectrum; seeded."""
    generator = torch.Generator().manual_seed(0)
    falling = torch.exp(-4 * torch.arange(dim) / dim)[:, None]
    mixing = falling * torch.randn(dim, dim, generator=generator) / dim**0.5
    return torch.relu(torch.randn(count, dim, generator=generator) @ mixing + 0.1)


def distances(found: Tensor, count: int, plan: Plan) -> Iterator[Row]:
    """Our distance of the first ``count`` rows to the others, against both libraries'."""
    images, reference = found[:count], found[count:]
    moments = Moments.of(reference)

    def ours() -> float:
        return frechet(Moments.of(images), moments)

    for name, prepare in (("clean-fid", cleanfid), ("torch-fidelity", fidelity)):
        theirs = prepare(images, reference)
        try:
            values = ours(), theirs()
        except (TypeError, ValueError, np.linalg.LinAlgError) as error:
            print(f"metrics: {name} cannot compute the distance of {found.shape[1]} features here: {error}")
            continue
        note = agreement(name, *values)
        timed = pair(ours, theirs, plan.turns("metrics"), warmups=0)
        yield timed.row(
            "metrics", f"Fréchet distance of {count:,} images, {found.shape[1]} features", name, note
        )


def cleanfid(images: Tensor, reference: Tensor) -> Callable[[], float]:
    """clean-fid's distance of numpy features to precomputed statistics, as its ``fid_folder`` computes it."""
    from cleanfid.fid import frechet_distance

    def statistics(rows: Any) -> tuple[Any, Any]:
        return np.mean(rows, axis=0), np.cov(rows, rowvar=False)

    known, given = statistics(reference.numpy()), images.numpy()
    return lambda: float(frechet_distance(*statistics(given), *known))


def fidelity(images: Tensor, reference: Tensor) -> Callable[[], float]:
    """torch-fidelity's distance of features to precomputed statistics."""
    try:
        from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    except ImportError:
        raise missing("torch-fidelity") from None
    known = fid_features_to_statistics(reference)

    def distance() -> float:
        found = fid_statistics_to_metric(fid_features_to_statistics(images), known, False)
        return float(found["frechet_inception_distance"])

    return distance


def extraction(plan: Plan) -> Iterator[Row]:
    """Our Inception features of small images against both libraries', after they agreed on images of 299 pixels.

    At 299 pixels none of them resizes; below it torch-fidelity uses another filter than clean-fid and we.
    """
    count = 2 if plan.tiny else 1024 if plan.gpu else 32
    with inception.Networks(plan.device) as networks:
        large, small = pictures(2, 299), pictures(count, 32)
        for name in ("clean-fid", "torch-fidelity"):
            mine, theirs = networks.ours, networks.peer(name)
            expected = theirs(large)
            note = agreement(name, mine(large), expected)
            timed = pair(partial(mine, small), partial(theirs, small), plan.turns("metrics"), warmups=1)
            ours, other = timed.ours / count, timed.other / count
            yield Row("metrics", "Inception features", ours, PER, other, timed.ratio, name, note)


def agreement(name: str, ours: Any, theirs: Any) -> str:
    """The largest difference as a share of the largest value, in words. Raises :class:`UserError` if it is too large."""
    mine, other = np.atleast_1d(np.asarray(ours, float)), np.atleast_1d(np.asarray(theirs, float))
    difference = float(np.abs(mine - other).max() / np.abs(other).max())
    if not difference <= TOLERANCE:
        raise UserError(
            f"our value differs from {name}'s by {difference:.1e} of it, more than {TOLERANCE:g}: "
            "the two do not compute the same, so their times are not compared"
        )
    return f"values agree: largest difference {difference:.0e} of them" if difference else "values are equal"
