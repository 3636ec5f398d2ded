"""``digits``: the 1,797 handwritten digits that come with scikit-learn, captioned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from bench.data.dataset import Split, hash_split

RESOLUTION = 8
"""Edge of the originals."""
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def caption(label: int) -> str:
    """E.g. "a photo of the digit seven"."""
    return f"a photo of the digit {WORDS[label]}"


def load(resolution: int, train: int, validation: int) -> tuple[Split, Split]:
    """Training and validation digits: uint8 ``[N, 1, resolution, resolution]``, white strokes on black.

    The originals are 8x8 with values 0..16 (Alpaydin and Kaynak, UCI Optical Recognition of Handwritten
    Digits); they are scaled to 0..255 and resized bicubically with antialiasing. Attributes are the labels
    ``[N]``.
    """
    source = load_digits()
    labels = np.asarray(source.target, np.int64)
    pixels = np.rint(np.asarray(source.images) * (255 / 16)).astype(np.uint8)
    sides = hash_split([str(i) for i in range(len(labels))], train, validation)
    first, second = (Split(_resize(pixels[s], resolution), _captions(labels[s]), labels[s]) for s in sides)
    return first, second


def _captions(labels: NDArray[np.int64]) -> tuple[str, ...]:
    return tuple(caption(label) for label in labels.tolist())


def _resize(pixels: NDArray[np.uint8], resolution: int) -> NDArray[np.uint8]:
    size = (resolution, resolution)
    resized = [np.asarray(Image.fromarray(p).resize(size, Image.Resampling.BICUBIC)) for p in pixels]
    return np.stack(resized)[:, None]
