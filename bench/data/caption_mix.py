"""Which caption of an image is trained on, where it has several: an original one and synthetic ones, mixed by a probability.

The study trains on half original and half synthetic captions (arXiv 2403.03206, section 5.2.2). The first caption of an
image is the original one; the others, as further columns of a table give them, are the synthetic ones.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bench.data.dataset import Split
from flowbench._core.errors import UserError

ALIKE = -1.0
"""The default of ``mix``: all captions of an image are drawn alike."""


def mixed(split: Split, mix: float, spec: str) -> Split:
    """A split whose images are shown with another than their first caption with probability ``mix``.

    Raises :class:`UserError` for no probability, and for images that have one caption each.
    """
    if mix == ALIKE:
        return split
    if not 0 <= mix <= 1:
        raise UserError(
            f"{spec}: mix={mix:g} is a probability, of another than the first caption: take 0 to 1"
        )
    if not split.alternatives:
        raise UserError(
            f"{spec}: mix={mix:g} needs images with several captions, and each has one: name the columns of a table "
            f"caption_0 (the original) and caption_1, or one more by second=NAME"
        )
    return replace(split, mix=mix)


def picked(drawn: NDArray[np.float64], counts: NDArray[np.int64], mix: float | None) -> NDArray[np.int64]:
    """The place of the caption of each image ``[N]`` by uniforms ``drawn`` in [0, 1): any of its ``counts`` captions, or
    with probability ``mix`` one of those behind the first, all alike."""
    if mix is None:
        return (drawn * counts).astype(np.int64)
    first = 1 - mix
    others = 1 + (np.maximum(drawn - first, 0) / max(mix, 1e-300) * (counts - 1)).astype(np.int64)
    return np.where(drawn < first, 0, np.minimum(others, counts - 1))
