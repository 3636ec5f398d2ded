"""The conformance check that a dataset must pass before cells train on it: a few of its images, by any rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from bench.data.builder import Builder, get, load
from bench.data.dataset import Dataset, Split
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy
from flowbench._core.registry import blame

if TYPE_CHECKING:
    import torch
else:
    torch = lazy("torch")

RESOLUTION, TRAIN, VALIDATION = 16, 64, 16
"""The sizes at which a dataset is checked; its own edge if it has one."""
CLOSE = 16.0
"""Mean difference of decoded images from the reference, gray levels of 256; pixels are exact."""


def check(name: str) -> list[str]:
    """Load a few images of the dataset and check them; returns one line per passed check.

    Checked: shapes and types as declared, a caption for each image, rows in any order and number, that validation is no
    copy of training, that decoded inputs are the reference or close to it, with leading axes as well, and that another load
    gives the same.

    Raises:
        UserError: the first check that fails, as one sentence; errors inside a plugin name file and line.
    """
    builder = get(name)
    sizes = {"resolution": builder.edge or RESOLUTION, "train": TRAIN, "validation": VALIDATION}
    data = load(name, **sizes)
    with blame(f"dataset {name!r}"):
        return [
            _shapes(builder, data, sizes["resolution"]),
            _captions(builder, data),
            _rows(data),
            _apart(data),
            _decoded(data),
            _again(data, load(name, **sizes)),
        ]


def _sides(data: Dataset) -> Iterator[tuple[str, Split, int]]:
    yield "training", data.train, TRAIN
    yield "validation", data.validation, VALIDATION


def _shapes(builder: Builder, data: Dataset, resolution: int) -> str:
    image, inputs = (builder.channels, resolution, resolution), builder.shape(resolution)
    for side, split, most in _sides(data):
        if len(split) > most:
            raise UserError(f"it has {len(split)} {side} images, where {most} were asked for")
        first = split.reference[np.arange(1)]
        if first.dtype != np.uint8 or tuple(split.reference.shape[1:]) != image or first.shape[1:] != image:
            found = f"{first.dtype} {list(split.reference.shape[1:])}"
            raise UserError(f"its {side} images are {found}, but uint8 {list(image)} is declared")
        if split.shape != inputs or tuple(split.batch(np.arange(1)).shape[1:]) != inputs:
            raise UserError(f"its {side} inputs are {list(split.shape)}, but {list(inputs)} is declared")
    return f"shapes: images {list(image)}, inputs {list(inputs)}"


def _captions(builder: Builder, data: Dataset) -> str:
    longest = 0
    for side, split, _ in _sides(data):
        if not all(caption.strip() for caption in split.texts()):
            raise UserError(f"a {side} caption is empty")
        if [several[0] for several in split.every()] != list(split.captions):
            raise UserError(f"its {side} captions are not the first of each image's alternatives")
        longest = max(longest, *(len(caption.split()) for caption in split.texts()))
    if builder.words is not None and longest > builder.words:
        raise UserError(f"it declares captions of {builder.words} words at most, and has one of {longest}")
    return f"captions: one or more for each image, of {longest} words at most"


def _rows(data: Dataset) -> str:
    for side, split, _ in _sides(data):
        every = np.arange(len(split))
        images, inputs = split.reference[every], split.batch(every)
        if not bool(inputs.isfinite().all()):
            raise UserError(f"its {side} inputs are not finite")
        for rows in (every[::-1].copy(), every[:1].repeat(3), every[len(every) // 2 :]):
            same = np.array_equal(split.reference[rows], images[rows])
            if not same or not torch.equal(split.batch(rows), inputs[torch.from_numpy(rows)]):
                raise UserError(f"its {side} images or inputs depend on which rows are read together")
    return "rows: the same in any order and number, finite"


def _apart(data: Dataset) -> str:
    train, validation = (
        [image.tobytes() for image in split.reference[np.arange(len(split))]]
        for split in (data.train, data.validation)
    )
    new = sum(image not in train for image in validation)
    if not new:
        raise UserError(
            f"each of its {len(validation)} validation images is a training image, too: hold images out, else overfitting"
            " passes for learning"
        )
    return f"apart: {new} of {len(validation)} validation images are none of training's {len(train)}"


def _decoded(data: Dataset) -> str:
    rows = np.arange(len(data.validation))
    images, inputs = data.validation.reference[rows], data.validation.batch(rows)
    decoded = data.decode(inputs)
    if decoded.dtype != torch.uint8 or tuple(decoded.shape) != images.shape:
        raise UserError(
            f"decoded inputs are {decoded.dtype} {list(decoded.shape)}, not uint8 {list(images.shape)}"
        )
    twice = data.decode(torch.stack([inputs, inputs]))[1]
    if twice.shape != decoded.shape or int((twice.int() - decoded.int()).abs().max()) > 1:
        raise UserError("decoded inputs depend on the others that are decoded with them")
    off = float(np.abs(decoded.numpy().astype(np.float64) - images).mean())
    if off > (0.0 if data.decoder is None else CLOSE):
        raise UserError(
            f"decoded inputs differ from the images by {off:.1f} gray levels, at most {CLOSE:g} may"
        )
    return f"decode: {off:.2f} gray levels from the images"


def _again(data: Dataset, again: Dataset) -> str:
    if data.digest != again.digest or not torch.equal(
        data.train.batch(np.arange(len(data.train))), again.train.batch(np.arange(len(again.train)))
    ):
        raise UserError("another load gives other images or captions: draw nothing at random")
    return f"again: the same content, {data.digest}"
