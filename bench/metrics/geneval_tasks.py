"""GenEval's six tasks for ``shapes`` and ``scenes``: single object, two objects, counting, colours, position, attribution.

As in GenEval (Ghosh et al. 2023, arXiv 2310.11513, section 3), objects are detected whatever the caption says, each with a
class (here its shape), a colour and a place, and the caption's are looked for among them. The score is the mean over the
means of the tasks, not over images. The detector is geometry, as in :mod:`bench.metrics.compositional_accuracy`: every
connected area of a palette colour is an object.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.metrics.compositional_accuracy import (
    MIN_AREA,
    Array,
    Bools,
    Ints,
    backgrounds,
    match,
    parse_all,
    relation_of,
    unmix,
    world_of,
)
from bench.metrics.metric import Drawn, Measure, Measured, Metric, register
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    from scipy import ndimage

    from bench.data import sdf, shapes
else:
    sdf, shapes, ndimage = lazy("bench.data.sdf"), lazy("bench.data.shapes"), lazy("scipy.ndimage")

TASKS = {
    "single_object": "the caption's one shape is there",
    "two_object": "both of the caption's shapes are there",
    "counting": "there are exactly as many objects as in the caption",
    "colors": "the caption's one shape is there in its colour",
    "position": "both of the caption's shapes are there in its relation",
    "color_attr": "both of the caption's shapes are there, each in its own colour",
}
"""GenEval's names, and what a picture has to show."""
LINKED = np.zeros((3, 3, 3, 3), bool)
"""Pixels of one object: neighbours of one picture and one colour, also across a corner."""
LINKED[1, 1] = True


@register("geneval")
def geneval() -> Measure:
    """Mean over GenEval's tasks that a dataset's captions have, and each task."""
    score = "mean over the tasks of GenEval that the captions have"
    columns = [Metric("geneval", "GenEval", True, score, digits=3, scale="share", needs="shapes")]
    columns += [
        Metric(
            f"geneval_{task}",
            f"GenEval {task.replace('_', ' ')}",
            True,
            f"share of pictures in which {shown}",
            digits=3,
            scale="share",
            ranked=False,
            per_sample=True,
            needs="shapes",
        )
        for task, shown in TASKS.items()
    ]
    return Measure(tuple(columns), measured, uses=("captions",))


def measured(drawn: Drawn) -> Measured:
    """The score and the tasks; nothing for other datasets."""
    if drawn.reference.data.name not in shapes.WORLDS:
        return Measured({})
    found = {f"geneval_{task}": hit for task, hit in tasks(drawn.images.numpy(), drawn.captions).items()}
    means: dict[str, float | None] = {name: float(hit.mean()) for name, hit in found.items()}
    return Measured({"geneval": float(np.mean([*means.values()])), **means}, found)


def tasks_of(world: shapes.World) -> tuple[str, ...]:
    """Those of :data:`TASKS` that the captions of a dataset have."""
    if world.objects == 1:
        return "single_object", "counting", "colors"
    return "two_object", "counting", "position", "color_attr"


@dataclass(frozen=True)
class Objects:
    """What is found in pictures, one after the other: of each object its picture, its shape (-1: none), its colour ``[K]``
    and its centre ``[K, 2]``."""

    picture: Ints
    shape: Ints
    color: Ints
    center: Array


def tasks(images: NDArray[np.uint8], captions: Sequence[str] | Ints) -> dict[str, Array]:
    """Whether each picture fulfils each task of its caption: float32 ``[N]`` of 0 and 1 for each of :func:`tasks_of`.

    ``images`` uint8 ``[N, 3, R, R]``; captions, or their attribute rows. Raises :class:`UserError` for other sentences.
    """
    rows = captions if isinstance(captions, np.ndarray) else parse_all(captions)
    world = world_of(rows)
    step = max(1, 2**18 // images.shape[-1] ** 2)
    parts: dict[str, list[Array]] = {task: [np.zeros(0, np.float32)] for task in tasks_of(world)}
    for start in range(0, len(images), step):
        judged = judge(detected(images[start : start + step], world), rows[start : start + step], world)
        for task, values in parts.items():
            values.append(judged[task].astype(np.float32))
    return {task: np.concatenate(values) for task, values in parts.items()}


def detected(images: NDArray[np.uint8], world: shapes.World) -> Objects:
    """The objects in pictures uint8 ``[N, 3, R, R]``."""
    side = images.shape[-1]
    pixels = images.reshape(len(images), 3, -1).astype(np.float32)
    background, flat = backgrounds(pixels)
    maps = unmix(pixels, background).reshape(len(images), -1, side, side)
    labels, count = ndimage.label((maps > 0) & flat[:, None, None, None], LINKED)
    areas = np.bincount(labels.ravel(), maps.ravel(), count + 1) / side**2
    least = MIN_AREA * 4 * sdf.BAR * world.radii[0] ** 2
    flat_labels, first = labels.ravel(), np.zeros(count + 1, np.int64)
    pixel = np.flatnonzero(flat_labels)[::-1]  # so that the first pixel of a label is written last
    first[flat_labels[pixel]] = pixel
    large = np.flatnonzero(areas > least)
    large = large[large > 0]
    picture, color, *_ = np.unravel_index(first[large], labels.shape)
    own = labels[picture, color] == large[:, None, None]
    shape, _, center = match(np.where(own, maps[picture, color], np.float32(0)), world)
    return Objects(picture, shape, color, center)


def judge(found: Objects, rows: Ints, world: shapes.World) -> dict[str, Bools]:
    """Whether each task is fulfilled ``[N]``."""
    count = np.zeros((len(rows), len(shapes.SHAPES), len(shapes.COLORS)), np.int64)
    known = found.shape >= 0
    np.add.at(count, (found.picture[known], found.shape[known], found.color[known]), 1)
    every, number = np.arange(len(rows)), np.bincount(found.picture, minlength=len(rows))
    out = {"counting": number == world.objects}
    one, color = rows[:, 0], rows[:, 1]
    if world.objects == 1:
        out["single_object"] = count[every, one].sum(axis=1) > 0
        out["colors"] = count[every, one, color] > 0
        return out
    two, other = rows[:, 3], rows[:, 4]
    both = np.where(one == two, 2, 1)
    out["two_object"] = (count[every, one].sum(axis=1) >= both) & (count[every, two].sum(axis=1) >= both)
    out["color_attr"] = (count[every, one, color] > 0) & (count[every, two, other] > 0)
    out["position"] = np.zeros(len(rows), bool)
    for a, b in pairs(found, one, two):
        right = relation_of(found.center[a], found.center[b]) == rows[found.picture[a], 6]
        out["position"][found.picture[a][right]] = True
    return out


def pairs(found: Objects, one: Ints, two: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Numbers of objects of one picture that have its caption's first and second shape, as pairs of arrays."""
    order = np.arange(len(found.picture))
    for shift in range(1, int(np.bincount(found.picture).max(initial=0))):
        early, late = order[:-shift], order[shift:]  # objects are sorted by picture
        together = found.picture[early] == found.picture[late]
        for a, b in ((early, late), (late, early)):
            at = found.picture[a]
            fit = together & (found.shape[a] == one[at]) & (found.shape[b] == two[at])
            yield a[fit], b[fit]
