"""``digits``: the 1,797 handwritten digits that come with scikit-learn, captioned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.config.experiment import Images
from bench.data.builder import Builder, register
from bench.data.dataset import Dataset, Split, build
from bench.data.held_out import hash_split

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def caption(label: int) -> str:
    """E.g. "a photo of the digit seven"."""
    return f"a photo of the digit {WORDS[label]}"


class Digits(Builder):
    """Uint8 ``[N, 1, resolution, resolution]``, white strokes on black; attributes are the labels ``[N]``.

    The originals are 8x8 with values 0..16 (Alpaydin and Kaynak, UCI Optical Recognition of Handwritten Digits); they are
    scaled to 0..255 and resized bicubically with antialiasing.
    """

    channels, edge, words, fixed = 1, 8, 6, True

    def load(self, name: str, images: Images) -> Dataset:
        """At most 1,797 digits, split by the hash of their number."""
        from sklearn.datasets import load_digits

        source = load_digits()
        labels = np.asarray(source.target, np.int64)
        pixels = np.rint(np.asarray(source.images) * (255 / 16)).astype(np.uint8)
        sides = hash_split([str(i) for i in range(len(labels))], images.train, images.validation)
        first, second = (
            Split(_resize(pixels[s], images.resolution), tuple(map(caption, labels[s].tolist())), labels[s])
            for s in sides
        )
        return build(name, (first, second))


@register("digits")
def digits() -> Builder:
    """Handwritten digits of scikit-learn, one channel."""
    return Digits()


def _resize(pixels: NDArray[np.uint8], resolution: int) -> NDArray[np.uint8]:
    from PIL import Image

    size = (resolution, resolution)
    resized = [np.asarray(Image.fromarray(p).resize(size, Image.Resampling.BICUBIC)) for p in pixels]
    return np.stack(resized)[:, None]
