"""Colours of objects: those of pixels for an encoder that sees them, and only pixels of the object count."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.metrics.object_colors import GREY, ObjectColors, cut
from bench.pretrained.detector import Seen

SHADES = {"red": (1.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0), "blue": (0.0, 0.0, 1.0)}


class MeanColor:
    """Images to their mean colour, captions to the colour that they name."""

    dim, name, preprocessing = 3, "mean", "none"

    def __init__(self) -> None:
        self.captions: list[str] = []

    def image_features(self, images: Tensor) -> Tensor:
        return images.float().mean((2, 3))

    def text_features(self, captions: Sequence[str]) -> Tensor:
        self.captions += captions
        none = (-1.0, -1.0, -1.0)
        return torch.tensor([next((v for k, v in SHADES.items() if k in text), none) for text in captions])


def picture() -> Image.Image:
    """Red on the left, green on the right, blue below."""
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[:20, :20, 0], pixels[:20, 20:, 1], pixels[20:, :, 2] = 255, 255, 255
    return Image.fromarray(pixels)


def test_colors_are_those_within_the_boxes() -> None:
    boxes = [(2, 2, 15, 15), (22, 2, 38, 18), (5, 22, 30, 29)]
    seen = [Seen("cup", 0.9, box) for box in boxes]
    model = MeanColor()
    named = ObjectColors(model)
    assert named(picture(), "cup", seen) == ["red", "green", "blue"]
    assert named(picture(), "cup", seen[::-1]) == ["blue", "green", "red"]
    assert model.captions[:3] == [
        "a photo of a red cup",
        "a photo of a red-colored cup",
        "a photo of a red object",
    ]
    assert len(model.captions) == 30, "of ten colours, once"


def test_outside_of_a_mask_lies_grey() -> None:
    mask = np.zeros((30, 40), bool)
    mask[:20, 20:24] = True
    whole = Seen("cup", 0.9, (0, 0, 40, 20), mask)
    pixels = cut(picture(), whole)
    assert (pixels[:, 20:24] == (0, 255, 0)).all()
    assert (pixels[:, :20] == GREY).all()
    assert ObjectColors(MeanColor())(picture(), "cup", [whole]) == ["green"]


def test_a_box_has_a_pixel_even_outside_of_the_picture() -> None:
    for box in ((60.0, 70.0, 80.0, 90.0), (-9.0, -9.0, -2.0, -1.0), (10.2, 10.2, 10.3, 10.3)):
        assert cut(picture(), Seen("cup", 0.9, box)).shape == (1, 1, 3)
    assert cut(picture(), Seen("cup", 0.9, (-5, -5, 99, 99))).shape == (30, 40, 3)
