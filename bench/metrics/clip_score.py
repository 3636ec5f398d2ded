"""CLIP score: how well each image shows its own caption, per sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.metrics.features import Rows, as_rows
from bench.metrics.metric import Drawn, Measure, Measured, Metric, register


@register("clip")
def clip() -> Measure:
    """Mean cosine of image and caption x 100."""
    column = Metric(
        "clip",
        "CLIP",
        True,
        "mean cosine of image and caption x 100",
        long="CLIP score",
        per_sample=True,
        needs="texts",
    )
    return Measure((column,), measured, uses=("captions", "features"))


def measured(drawn: Drawn) -> Measured:
    """The score; None of an extractor that reads no texts."""
    if drawn.texts is None:
        return Measured({"clip": None})
    return Measured.means(clip=clip_scores(drawn.features, drawn.texts))


def clip_scores(image_features: Any, text_features: Any) -> Rows:
    """``100 cos(image_i, text_i)`` for each pair, float64 ``[N]``, in [-100, 100].

    Both inputs ``[N, D]`` are L2-normalised here. No clamp at 0 and no factor 2.5 (unlike Hessel et al. 2021,
    arXiv 2104.08718), so that means over captions stay unbiased and differences between formulations can be
    paired by sample. A zero or non-finite feature gives NaN. Raises ``ValueError`` if the shapes differ.
    """
    images, texts = as_rows(image_features), as_rows(text_features)
    if images.shape != texts.shape:
        raise ValueError(f"images have features {list(images.shape)}, captions {list(texts.shape)}")
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = np.einsum("nd,nd->n", images, texts) / (
            np.linalg.norm(images, axis=1) * np.linalg.norm(texts, axis=1)
        )
    return np.asarray(100.0 * cosine, dtype=np.float64)
