"""What is measured of generated images, and the yardsticks that real images set beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.metrics.clip_score import clip_scores
from bench.metrics.composition import compositional_accuracy
from bench.metrics.frechet import Moments, frechet
from bench.metrics.influence import influence
from bench.metrics.kid import kid
from bench.seeds import seed_for
from bench.setup import Setup, features


@dataclass(frozen=True)
class Measured:
    """Means by name for the results table, and per-sample values ``[n]`` by name for paired intervals."""

    values: dict[str, float | None]
    per_sample: dict[str, np.ndarray[Any, Any]]


def measure(
    images: Tensor, setup: Setup, captions: Sequence[str] | None = None, path_length: Tensor | None = None
) -> Measured:
    """Measure uint8 images ``[n, C, H, W]`` drawn for ``setup.chosen``, or against other ``captions``.

    CLIP score (mean cosine x 100), Fréchet and kernel distance to the validation images, and for ``shapes`` the share of
    pictures that show what their caption says: colours, shapes, sizes, relation, background, all of them, and as
    ``composition`` the mean over the five parts, as GenEval (arXiv 2310.11513) averages over its tasks.

    The samples' ``fid`` are influence values (:mod:`bench.metrics.influence`), there only if n is large enough for them.
    ``path_length [n]`` is how far each sample has come (:mod:`bench.generate`); its mean is None if one is not finite.
    """
    found = features(setup.extractor, images)
    values: dict[str, float | None] = {"clip": None}
    per_sample: dict[str, np.ndarray[Any, Any]] = {}
    if setup.text_features is not None:
        texts = setup.text_features if captions is None else setup.extractor.text_features(captions)
        per_sample["clip"] = clip_scores(found, texts)
        values["clip"] = float(per_sample["clip"].mean())
    distance = kid(found, setup.reference, within=setup.within)
    moved = influence(found, setup.moments)
    if moved is not None:
        per_sample["fid"] = moved
    values |= {
        "fid": frechet(Moments.of(found), setup.moments),
        "kid": distance.value,
        "kid_stderr": distance.stderr,
    }
    if setup.data.name == "shapes":
        parts = compositional_accuracy(images.numpy(), captions or setup.chosen)
        per_sample |= {f"composition_{part}": hit for part, hit in parts.items()}
        values |= {f"composition_{part}": float(hit.mean()) for part, hit in parts.items()}
        values["composition"] = float(np.mean([hit.mean() for part, hit in parts.items() if part != "all"]))
    if path_length is not None:
        per_sample["path_length"] = path_length.numpy()
        mean = float(per_sample["path_length"].mean(dtype=np.float64))
        values["path_length"] = mean if np.isfinite(mean) else None
    return Measured(values, per_sample)


def yardsticks(setup: Setup) -> dict[str, Any]:
    """Real images in the place of generated ones, at the same ``n``, or as many as there are: none counts twice.

    Training images against the validation reference, with their own captions and with captions that belong to others.
    """
    rng = np.random.default_rng(seed_for("yardsticks", setup.data.name))
    split = setup.data.train
    rows = rng.permutation(len(split.images))[: len(setup.chosen)]
    images, captions = torch.from_numpy(split.images[rows]), [split.captions[i] for i in rows]
    shuffled = others(captions)
    real, other = measure(images, setup, captions), measure(images, setup, shuffled)
    return {
        "n": len(rows),
        "dimensions": setup.extractor.dim,
        "captions_cut": setup.cut,
        "clip_real": real.values["clip"],
        "clip_shuffled": other.values["clip"],
        "fid_real": real.values["fid"],
        "kid_real": real.values["kid"],
        "composition_real": real.values.get("composition"),
        "composition_shuffled": other.values.get("composition"),
        **setup.names(),
    }


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
