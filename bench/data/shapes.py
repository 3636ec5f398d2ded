"""``shapes``: generated scenes of two objects, a spatial relation and a background, with exact captions.

"a small red circle left of a large blue square on white": the first object lies left of the second. Scene
``i`` depends on ``i`` alone, never on how many are asked for or at which resolution; positions are
continuous, so there are millions of distinct pictures of the 6*6*2 * 6*5*2 * 4 * 3 = 51,840 captions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.data import sdf
from bench.data.dataset import Split, in_validation
from bench.seeds import seed_for
from samplers.errors import UserError, nearest

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
RADII = np.array([0.15, 0.215])
"""Half extents of :data:`SIZES` in frame units: 4.8 and 6.9 of 16 pixels wide."""
GAP = 0.055
"""The least distance between the objects' boxes along the relation's axis, frame units."""
TILT = 0.5
"""Largest shift across the relation's axis over the shift along it: keeps the relation clear."""

ATTRIBUTES = ("shape_1", "color_1", "size_1", "shape_2", "color_2", "size_2", "relation", "background")
"""Columns of the attribute array; values are indices into SHAPES, COLORS, SIZES, RELATIONS, BACKGROUNDS."""

_BLOCK = 4096
_DRAWS = 12  # uniform numbers per scene: eight attributes, four positions


@dataclass(frozen=True)
class Scenes:
    """What a picture shows, free of any resolution.

    Shapes: attributes int64 ``[N, 8]`` (see :data:`ATTRIBUTES`); centers float64 ``[N, 2, 2]`` as (object,
    x|y) in frame units.
    """

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


def scenes(indices: Sequence[int] | NDArray[np.int64]) -> Scenes:
    """The scenes with the given indices (>= 0).

    All attributes are uniform and independent, but the second colour differs from the first.
    """
    u = _uniforms(np.asarray(indices, np.int64))
    thing = [len(SHAPES), len(COLORS), len(SIZES)]
    counts = np.array([*thing, *thing, len(RELATIONS), len(BACKGROUNDS)])
    counts[4] -= 1
    attributes = (u[:, :8] * counts).astype(np.int64)
    attributes[:, 4] = (attributes[:, 1] + 1 + attributes[:, 4]) % len(COLORS)
    return Scenes(attributes, _place(attributes, u[:, 8:]))


def _place(attributes: NDArray[np.int64], u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centres ``[N, 2, 2]`` inside the frame, apart by at least GAP along the relation's axis."""
    r1, r2 = RADII[attributes[:, 2]], RADII[attributes[:, 5]]
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
        _render_into(out[part], what.attributes[part], what.centers[part])
    return out


def _render_into(out: NDArray[np.uint8], attributes: NDArray[np.int64], centers: NDArray[np.float64]) -> None:
    resolution = out.shape[-1]
    masks = np.empty((2, len(out), resolution, resolution), np.float32)
    for which in (0, 1):
        kind, radius = attributes[:, 3 * which], RADII[attributes[:, 3 * which + 2]]
        for number, shape in enumerate(SHAPES):
            rows = np.flatnonzero(kind == number)
            cx, cy = centers[rows, which].astype(np.float32).T
            masks[which, rows] = sdf.coverage(shape, cx, cy, radius[rows].astype(np.float32), resolution)
    back = BACKGROUND_RGB[attributes[:, 7]].astype(np.float32)
    delta = [PALETTE[attributes[:, c]].astype(np.float32) - back for c in (1, 4)]
    for channel in range(3):  # the objects are apart, so their coverages sum to at most 1
        value = masks[0] * delta[0][:, channel, None, None]
        value += masks[1] * delta[1][:, channel, None, None]
        value += back[:, channel, None, None]
        np.rint(value, out=value)
        out[:, channel] = value


def caption(row: Sequence[int] | NDArray[np.int64]) -> str:
    """The sentence of one attribute row, e.g. "a small red circle left of a large blue square on white"."""
    s1, c1, z1, s2, c2, z2, relation, background = (int(v) for v in row)
    return (
        f"a {SIZES[z1]} {COLORS[c1]} {SHAPES[s1]} {RELATIONS[relation]} "
        f"a {SIZES[z2]} {COLORS[c2]} {SHAPES[s2]} on {BACKGROUNDS[background]}"
    )


def parse(sentence: str) -> NDArray[np.int64]:
    """The attribute row ``[8]`` of a caption; the inverse of :func:`caption`.

    Raises:
        UserError: the sentence is no caption of ``shapes``.
    """
    for number, relation in enumerate(RELATIONS):
        first, found, rest = sentence.strip().partition(f" {relation} ")
        if found:
            second, _, background = rest.partition(" on ")
            row = [*_object(first, sentence), *_object(second, sentence), number]
            return np.array([*row, _index(background, BACKGROUNDS, "background", sentence)], np.int64)
    raise UserError(f"caption {sentence!r} names no relation of the shapes; known: {', '.join(RELATIONS)}")


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


def load(resolution: int, train: int, validation: int) -> tuple[Split, Split]:
    """The first ``train`` and ``validation`` scenes of either side of the hash split."""
    sides: tuple[list[int], list[int]] = ([], [])
    wanted = (train, validation)
    index = 0
    while len(sides[0]) < train or len(sides[1]) < validation:
        side = int(in_validation(str(index)))
        if len(sides[side]) < wanted[side]:
            sides[side].append(index)
        index += 1
    return _split(sides[0], resolution), _split(sides[1], resolution)


def _split(indices: list[int], resolution: int) -> Split:
    what = scenes(indices)
    return Split(render(what, resolution), what.captions(), what.attributes)
