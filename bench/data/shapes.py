"""``shapes`` and ``scenes``: generated pictures of one object, or of two in a spatial relation, with exact captions.

"a large red circle on white", near the middle; "a small red circle left of a large blue square on white": the first
object lies left of the second. Picture ``i`` depends on ``i`` alone, never on how many are asked for or at which
resolution; positions are continuous, so there are as many distinct pictures as one likes (of one object at 8 pixels,
about one of 1,700 equals another) of the 6*6*2 * 3 = 216 captions with one object and the
6*6*2 * 6*5*2 * 4 * 3 = 51,840 with two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.config.experiment import Images
from bench.config.seeds import seed_for
from bench.data import sdf
from bench.data.builder import Builder, register
from bench.data.dataset import Dataset, Split, build
from bench.data.held_out import in_validation
from flowbench._core.errors import UserError, nearest

SHAPES = tuple(sdf.DISTANCES)
COLORS = ("red", "green", "blue", "yellow", "purple", "cyan")
SIZES = ("small", "large")
RELATIONS = ("left of", "right of", "above", "below")
BACKGROUNDS = ("white", "black", "gray")

PALETTE = np.array(
    [[230, 25, 25], [20, 165, 40], [35, 60, 235], [245, 215, 0], [195, 35, 215], [0, 200, 220]], np.uint8
)
"""RGB of :data:`COLORS`: near the cube's corners, so that no mixture with a background looks like another."""
BACKGROUND_RGB = np.array([[255, 255, 255], [0, 0, 0], [128, 128, 128]], np.uint8)
"""RGB of :data:`BACKGROUNDS`."""
GAP = 0.055
"""The least distance between the objects' boxes along the relation's axis, frame units."""
TILT = 0.5
"""Largest shift across the relation's axis over the shift along it: keeps the relation clear."""

_OBJECT = ("shape", "color", "size")


@dataclass(frozen=True)
class World:
    """A dataset of generated pictures: how many objects each shows (1 or 2), the half extents of :data:`SIZES`, and how
    far one object's centre lies from the middle at most along each axis, in frame units."""

    name: str
    objects: int
    radii: tuple[float, float]
    shift: float = 0.0

    @property
    def attributes(self) -> tuple[str, ...]:
        """Columns of an attribute array; values are indices into SHAPES, COLORS, SIZES, RELATIONS, BACKGROUNDS."""
        things = tuple(f"{what}_{i + 1}" for i in range(self.objects) for what in _OBJECT)
        return (*things, *["relation"] * (self.objects - 1), "background")

    @property
    def counts(self) -> tuple[int, ...]:
        """How many values each column has."""
        thing = (len(SHAPES), len(COLORS), len(SIZES))
        return (*thing * self.objects, *[len(RELATIONS)] * (self.objects - 1), len(BACKGROUNDS))


SHAPES_WORLD = World("shapes", 1, (0.28, 0.42), shift=0.04)
"""One object near the middle, 4.5 or 6.7 of 8 pixels wide: a small model learns its colour, size and shape from 900 steps
of 16, in a minute or two on a CPU."""
SCENES_WORLD = World("scenes", 2, (0.15, 0.215))
"""Two objects, 4.8 or 6.9 of 16 pixels wide."""
WORLDS = {world.name: world for world in (SHAPES_WORLD, SCENES_WORLD)}

_BLOCK = 4096
_DRAWS = 12
"""Uniform numbers per picture: eight attributes, four positions; one object leaves some of them unused."""


@dataclass(frozen=True)
class Scenes:
    """What a picture shows, free of any resolution.

    Shapes: attributes int64 ``[N, A]`` (columns :attr:`World.attributes`); centers float64 ``[N, objects, 2]`` as
    (object, x|y) in frame units.
    """

    world: World
    attributes: NDArray[np.int64]
    centers: NDArray[np.float64]

    def captions(self) -> tuple[str, ...]:
        """One sentence per scene."""
        return tuple(caption(row) for row in self.attributes.tolist())


def _uniforms(indices: NDArray[np.int64]) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1) for each scene, ``[N, _DRAWS]``: row ``i`` depends on ``i`` only.

    Raw Philox words, because numpy promises their stream for ever, and not that of ``Generator``'s methods.
    """
    out = np.empty((len(indices), _DRAWS))
    blocks = indices // _BLOCK
    for block in np.unique(blocks):
        chosen = blocks == block
        words = np.random.Philox(key=seed_for("shapes", int(block))).random_raw(_BLOCK * _DRAWS)
        table = (words >> np.uint64(11)).astype(np.float64).reshape(_BLOCK, _DRAWS) * 2.0**-53
        out[chosen] = table[indices[chosen] - block * _BLOCK]
    return out


def scenes(indices: Sequence[int] | NDArray[np.int64], world: World = SHAPES_WORLD) -> Scenes:
    """What the pictures with the given indices (>= 0) show.

    All attributes are uniform and independent, but the second colour differs from the first.
    """
    u = _uniforms(np.asarray(indices, np.int64))
    if world.objects == 1:
        attributes = (u[:, [0, 1, 2, 7]] * world.counts).astype(np.int64)
        return Scenes(world, attributes, (0.5 + world.shift * (2 * u[:, 8:10] - 1))[:, None])
    counts = np.array(world.counts)
    counts[4] -= 1
    attributes = (u[:, :8] * counts).astype(np.int64)
    attributes[:, 4] = (attributes[:, 1] + 1 + attributes[:, 4]) % len(COLORS)
    return Scenes(world, attributes, _place(world, attributes, u[:, 8:]))


def _place(world: World, attributes: NDArray[np.int64], u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centres of two objects ``[N, 2, 2]`` inside the frame, apart by at least GAP along the relation's axis."""
    r1, r2 = np.array(world.radii)[attributes[:, [2, 5]]].T
    relation = attributes[:, 6]
    slack = 1 - 2 * (r1 + r2) - GAP
    distance = r1 + r2 + GAP + u[:, 0] * slack
    rest = slack * (1 - u[:, 0])
    swap = relation % 2 == 1  # right of, below: the second object comes first along the axis
    first = np.where(swap, r2, r1) + u[:, 1] * rest
    along = np.where(swap[:, None], [1, 0], [0, 1]) * distance[:, None] + first[:, None]
    across1 = r1 + u[:, 2] * (1 - 2 * r1)
    low = np.maximum(r2, across1 - TILT * distance)
    high = np.minimum(1 - r2, across1 + TILT * distance)
    across = np.stack([across1, low + u[:, 3] * (high - low)], axis=1)
    horizontal = (relation < 2)[:, None]
    return np.stack([np.where(horizontal, along, across), np.where(horizontal, across, along)], axis=2)


def render(what: Scenes, resolution: int) -> NDArray[np.uint8]:
    """Pictures uint8 ``[N, 3, resolution, resolution]`` of the scenes; edges are anti-aliased."""
    out = np.empty((len(what.attributes), 3, resolution, resolution), np.uint8)
    step = max(1, 2**18 // resolution**2)  # working arrays that stay in the cache
    for start in range(0, len(out), step):
        part = slice(start, start + step)
        _render_into(out[part], Scenes(what.world, what.attributes[part], what.centers[part]))
    return out


def _render_into(out: NDArray[np.uint8], what: Scenes) -> None:
    resolution, attributes, radii = out.shape[-1], what.attributes, np.array(what.world.radii)
    masks = np.empty((what.world.objects, len(out), resolution, resolution), np.float32)
    for which in range(what.world.objects):
        kind, radius = attributes[:, 3 * which], radii[attributes[:, 3 * which + 2]]
        for number, shape in enumerate(SHAPES):
            rows = np.flatnonzero(kind == number)
            cx, cy = what.centers[rows, which].astype(np.float32).T
            masks[which, rows] = sdf.coverage(shape, cx, cy, radius[rows].astype(np.float32), resolution)
    back = BACKGROUND_RGB[attributes[:, -1]].astype(np.float32)
    delta = [PALETTE[attributes[:, 3 * i + 1]].astype(np.float32) - back for i in range(what.world.objects)]
    for channel in range(3):  # objects are apart, so their coverages sum to at most 1
        value = masks[0] * delta[0][:, channel, None, None]
        for mask, change in zip(masks[1:], delta[1:], strict=True):
            value += mask * change[:, channel, None, None]
        value += back[:, channel, None, None]
        np.rint(value, out=value)
        out[:, channel] = value


def caption(row: Sequence[int] | NDArray[np.int64]) -> str:
    """The sentence of one attribute row, e.g. "a small red circle left of a large blue square on white"."""
    *things, background = (int(v) for v in row)
    first = _thing(things[:3])
    second = f" {RELATIONS[things[6]]} {_thing(things[3:6])}" if len(things) > 3 else ""
    return f"{first}{second} on {BACKGROUNDS[background]}"


def _thing(values: Sequence[int]) -> str:
    shape, color, size = values
    return f"a {SIZES[size]} {COLORS[color]} {SHAPES[shape]}"


def parse(sentence: str) -> NDArray[np.int64]:
    """The attribute row ``[4]`` or ``[8]`` of a caption; the inverse of :func:`caption`.

    Raises:
        UserError: the sentence is no caption of ``shapes`` or ``scenes``.
    """
    things, _, last = sentence.strip().rpartition(" on ")
    for number, relation in enumerate(RELATIONS):
        first, found, second = things.partition(f" {relation} ")
        if found:
            row = [*_object(first, sentence), *_object(second, sentence), number]
            break
    else:
        row = _object(things, sentence)
    return np.array([*row, _index(last, BACKGROUNDS, "background", sentence)], np.int64)


def _object(words: str, sentence: str) -> list[int]:
    parts = words.split()
    if len(parts) != 4 or parts[0] != "a":
        raise UserError(f"caption {sentence!r}: {words!r} is not an object like 'a small red circle'")
    _, size, color, shape = parts
    return [
        _index(shape, SHAPES, "shape", sentence),
        _index(color, COLORS, "color", sentence),
        _index(size, SIZES, "size", sentence),
    ]


def _index(word: str, known: tuple[str, ...], what: str, sentence: str) -> int:
    if word not in known:
        raise UserError(f"caption {sentence!r}: unknown {what} {word!r}; {nearest(word, known)}")
    return known.index(word)


class Generated(Builder):
    """The first pictures of either side of the hash split of a world."""

    fixed = True

    def __init__(self, world: World) -> None:
        self.world = world
        self.words = len(caption([0] * len(world.attributes)).split())

    def load(self, name: str, images: Images) -> Dataset:
        """Exactly as many pictures as are asked for."""
        sides: tuple[list[int], list[int]] = ([], [])
        wanted = (images.train, images.validation)
        index = 0
        while len(sides[0]) < wanted[0] or len(sides[1]) < wanted[1]:
            side = int(in_validation(str(index)))
            if len(sides[side]) < wanted[side]:
                sides[side].append(index)
            index += 1
        first, second = (_split(indices, self.world, images.resolution) for indices in sides)
        return build(name, (first, second))


@register("shapes")
def one() -> Builder:
    """Generated pictures of one object."""
    return Generated(SHAPES_WORLD)


@register("scenes")
def two() -> Builder:
    """Generated pictures of two objects in a spatial relation."""
    return Generated(SCENES_WORLD)


def _split(indices: list[int], world: World, resolution: int) -> Split:
    what = scenes(indices, world)
    return Split(render(what, resolution), what.captions(), what.attributes)
