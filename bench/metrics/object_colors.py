"""The colours of objects in a picture by an encoder of images and text, as GenEval's script asks CLIP.

An object is cut out by its box, on grey outside of its mask if there is one. Its colour is the one whose captions fit best:
the mean of three normalised captions of the class in that colour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bench.encoders import Extractor, features, text_features
from bench.metrics.geneval_rules import COLORS
from bench.pretrained.detector import Seen
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import Tensor
else:
    torch = lazy("torch")

GREY = 0x99
"""Of a picture outside of an object."""


class ObjectColors:
    """Names colours, with the captions of each class encoded once."""

    def __init__(self, extractor: Extractor) -> None:
        self.extractor = extractor
        self._captions: dict[str, Tensor] = {}

    def __call__(self, picture: Image.Image, label: str, seen: Sequence[Seen]) -> list[str]:
        """The colour of each object of a class."""
        cuts = [torch.from_numpy(cut(picture, each)).permute(2, 0, 1)[None] for each in seen]
        found = torch.cat([features(self.extractor, one) for one in cuts])
        best = (found @ self.captions(label).T).argmax(1)
        return [COLORS[i] for i in best.tolist()]

    def captions(self, label: str) -> Tensor:
        """A direction ``[10, D]`` for each colour of a class."""
        if label not in self._captions:
            forms = (
                f"a photo of a {{}} {label}",
                f"a photo of a {{}}-colored {label}",
                "a photo of a {} object",
            )
            found = text_features(self.extractor, [form.format(color) for color in COLORS for form in forms])
            assert found is not None
            unit = torch.nn.functional.normalize
            self._captions[label] = unit(unit(found, dim=1).view(len(COLORS), len(forms), -1).mean(1), dim=1)
        return self._captions[label]


def cut(picture: Image.Image, seen: Seen) -> np.ndarray:
    """The part of a picture that shows an object, uint8 ``[h, w, 3]``, at least one pixel."""
    pixels = np.array(picture)
    if seen.mask is not None:
        pixels[~seen.mask] = GREY
    (left, right), (top, bottom) = (
        span(seen.box[i], seen.box[i + 2], size) for i, size in enumerate(picture.size)
    )
    return np.ascontiguousarray(pixels[top:bottom, left:right])


def span(low: float, high: float, size: int) -> tuple[int, int]:
    """The pixels of a side of a box, within a picture of ``size``."""
    first = min(max(math.floor(low + 0.5), 0), size - 1)
    return first, max(first + 1, min(math.floor(high + 0.5), size))
