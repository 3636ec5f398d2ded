"""What is measured of generated images, and the yardsticks that real images set beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.config.seeds import seed_for
from bench.data import shapes
from bench.metrics import declared
from bench.metrics.clip_score import clip_scores
from bench.metrics.composition import compositional_accuracy, squares
from bench.metrics.frechet import Moments, frechet
from bench.metrics.influence import influence
from bench.metrics.kid import kid
from bench.worker.setup import Setup, features


@dataclass(frozen=True)
class Measured:
    """Means by name for the results table, and per-sample values ``[n]`` by name for paired intervals."""

    values: dict[str, float | None]
    per_sample: dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Drawn:
    """Images uint8 ``[n, C, H, W]`` with their ``features``, drawn for ``captions``; ``own``: those are ``setup.chosen``.
    ``path_length [n]`` is how far each sample has come (:mod:`bench.sampling.generate`)."""

    images: Tensor
    features: Tensor
    captions: Sequence[str]
    own: bool
    setup: Setup
    path_length: Tensor | None


def measure(
    images: Tensor, setup: Setup, captions: Sequence[str] | None = None, path_length: Tensor | None = None
) -> Measured:
    """Measure uint8 images ``[n, C, H, W]`` drawn for ``setup.chosen``, or against other ``captions``, by every one of
    `MEASURES`. Raises `ValueError` for a value that no metric declares (:mod:`bench.metrics.declared`)."""
    found = features(setup.extractor, images)
    drawn = Drawn(images, found, captions or setup.chosen, captions is None, setup, path_length)
    values: dict[str, float | None] = {}
    per_sample: dict[str, np.ndarray[Any, Any]] = {}
    for of in MEASURES:
        measured = of(drawn)
        values |= measured.values
        per_sample |= measured.per_sample
    known = {metric.name for metric in declared.METRICS}
    for name in (*values, *per_sample):
        if name.removesuffix("_stderr") not in known:
            raise ValueError(f"{name} is measured, and bench.metrics.declared has no such metric")
    return Measured(values, per_sample)


def score(drawn: Drawn) -> Measured:
    """CLIP score: mean cosine of image and caption x 100. None of an extractor that reads no texts."""
    setup = drawn.setup
    if setup.text_features is None:
        return Measured({"clip": None}, {})
    texts = setup.text_features if drawn.own else setup.extractor.text_features(drawn.captions)
    found = clip_scores(drawn.features, texts)
    return Measured({"clip": float(found.mean())}, {"clip": found})


def distances(drawn: Drawn) -> Measured:
    """Fréchet and kernel distance to the validation images.

    The samples' ``fid`` are influence values (:mod:`bench.metrics.influence`), there only if n is large enough for them.
    """
    setup = drawn.setup
    distance = kid(drawn.features, setup.reference, within=setup.within)
    moved = influence(drawn.features, setup.moments)
    fid = frechet(Moments.of(drawn.features), setup.moments)
    values: dict[str, float | None] = {"fid": fid, "kid": distance.value, "kid_stderr": distance.stderr}
    return Measured(values, {} if moved is None else {"fid": moved})


def composition(drawn: Drawn) -> Measured:
    """For ``shapes`` and ``scenes`` the share of pictures that show what their caption says: colours, shapes, sizes,
    relation (of two objects), background, all of them, and as ``composition`` the mean over these parts, as GenEval (arXiv
    2310.11513) averages over its tasks."""
    if drawn.setup.data.name not in shapes.WORLDS:
        return Measured({}, {})
    parts = compositional_accuracy(drawn.images.numpy(), drawn.captions)
    values: dict[str, float | None] = {
        f"composition_{part}": float(hit.mean()) for part, hit in parts.items()
    }
    values["composition"] = float(np.mean([hit.mean() for part, hit in parts.items() if part != "all"]))
    return Measured(values, {f"composition_{part}": hit for part, hit in parts.items()})


def path(drawn: Drawn) -> Measured:
    """How far the samples have come; the mean is None if one is not finite."""
    if drawn.path_length is None:
        return Measured({}, {})
    lengths = drawn.path_length.numpy()
    mean = float(lengths.mean(dtype=np.float64))
    return Measured({"path_length": mean if np.isfinite(mean) else None}, {"path_length": lengths})


MEASURES: list[Callable[[Drawn], Measured]] = [score, distances, composition, path]


def yardsticks(setup: Setup) -> dict[str, Any]:
    """Real images in the place of generated ones, at the same ``n``, or as many as there are: none counts twice.

    Training images against the validation reference, with their own captions and with captions that belong to others; for
    ``shapes`` and ``scenes`` also pictures that are right but for the shapes, which are squares throughout.
    """
    rng = np.random.default_rng(seed_for("yardsticks", setup.data.name))
    split = setup.data.train
    rows = rng.permutation(len(split.images))[: len(setup.chosen)]
    images, captions = torch.from_numpy(split.images[rows]), [split.captions[i] for i in rows]
    shuffled = others(captions)
    found = {"real": measure(images, setup, captions), "shuffled": measure(images, setup, shuffled)}
    if setup.data.name in shapes.WORLDS:
        flat, shown = squares(len(rows), shapes.WORLDS[setup.data.name], images.shape[-1])
        said = [shapes.caption(row) for row in shown.tolist()]
        found["squares"] = measure(torch.from_numpy(flat), setup, said)
    values = {
        f"{metric}_{name}": value
        for name, measured in found.items()
        for metric, value in measured.values.items()
        if metric != "kid_stderr" and (name != "shuffled" or metric not in ("fid", "kid"))
    }
    about = {"n": len(rows), "dimensions": setup.extractor.dim, "captions_cut": setup.cut}
    return {**about, **values, **setup.names()}


SHOWN, EACH = 16, 5
"""Captions for which real images are kept, and the most of them for one."""


def real_images(setup: Setup) -> tuple[Tensor, list[str]]:
    """Validation images uint8 ``[n, C, H, W]`` for the first of ``setup.chosen``, and the caption of each."""
    split = setup.data.validation
    wanted = dict.fromkeys(setup.chosen[:SHOWN])
    rows = [(i, c) for i, several in enumerate(split.every()) for c in several if c in wanted]
    found: dict[str, list[int]] = {}
    for i, caption in rows:
        found.setdefault(caption, []).append(i)
    kept = [(i, caption) for caption in wanted for i in found.get(caption, [])[:EACH]]
    images = torch.from_numpy(np.ascontiguousarray(split.images[[i for i, _ in kept]]))
    return images, [caption for _, caption in kept]


def others(captions: Sequence[str]) -> list[str]:
    """For each caption the next one in the list that differs from it; itself if there is no other."""
    turned = [*captions, *captions]
    return [
        next((c for c in turned[i + 1 : i + len(captions)] if c != mine), mine)
        for i, mine in enumerate(captions)
    ]
