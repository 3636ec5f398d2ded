"""Measurements of generated images, and the same of real images for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.config.seeds import seed_for
from bench.data import shapes
from bench.data.encoded import Decoded
from bench.encoders import features, text_features
from bench.metrics.compositional_accuracy import squares
from bench.metrics.metric import Drawn, Measured
from bench.worker.setup import Setup


def measure(
    images: Tensor, setup: Setup, captions: Sequence[str] | None = None, path_length: Tensor | None = None
) -> Measured:
    """Measure uint8 images ``[n, C, H, W]`` drawn for ``setup.chosen``, or against other ``captions``, by every one of
    ``setup.measures``."""
    texts = setup.text_features
    if captions is not None:
        texts = text_features(setup.extractor, captions)
    found = features(setup.extractor, images)
    drawn = Drawn(images, captions or setup.chosen, found, texts, path_length, setup.reference)
    values: dict[str, float | None] = {}
    per_sample: dict[str, np.ndarray[Any, Any]] = {}
    for each in setup.measures:
        measured = each.of(drawn)
        values |= measured.values
        per_sample |= measured.per_sample
    return Measured(values, per_sample)


def real_scores(setup: Setup) -> dict[str, Any]:
    """Real images instead of generated ones, at the same ``n``, or as many as there are: none counts twice.

    Training images against the validation reference, with their own captions and with captions that belong to others; where
    inputs have a decoder also the images that it makes of them, which no generated ones can be expected to beat, and only
    these where the training images themselves are not kept; for ``shapes`` and ``scenes`` also pictures that are right but
    for the shapes, which are squares throughout.
    """
    rng = np.random.default_rng(seed_for("yardsticks", setup.data.name))
    split = setup.data.train
    rows = rng.permutation(len(split))[: len(setup.chosen)]
    captions, found = [split.captions[i] for i in rows], {}
    if setup.data.decoder is not None:
        images = setup.data.decode(split.batch(rows).to(setup.captions.device)).cpu()
        found["decoded"] = measure(images, setup, captions)
    if not isinstance(split.reference, Decoded):
        images = torch.from_numpy(split.reference[rows])
        found["real"] = measure(images, setup, captions)
    found["shuffled"] = measure(images, setup, others(captions))
    if setup.data.name in shapes.WORLDS:
        flat, shown = squares(len(rows), shapes.WORLDS[setup.data.name], images.shape[-1])
        captioned = [shapes.caption(row) for row in shown.tolist()]
        found["squares"] = measure(torch.from_numpy(flat), setup, captioned)
    of_captions = {column.name for m in setup.measures if "captions" in m.uses for column in m.columns}
    values = {
        f"{metric}_{name}": value
        for name, measured in found.items()
        for metric, value in measured.values.items()
        if not metric.endswith("_stderr") and (name != "shuffled" or metric in of_captions)
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
    images = torch.from_numpy(np.ascontiguousarray(split.reference[np.array([i for i, _ in kept])]))
    return images, [caption for _, caption in kept]


def others(captions: Sequence[str]) -> list[str]:
    """For each caption the next one in the list that differs from it; itself if there is no other."""
    turned = [*captions, *captions]
    return [
        next((c for c in turned[i + 1 : i + len(captions)] if c != mine), mine)
        for i, mine in enumerate(captions)
    ]
