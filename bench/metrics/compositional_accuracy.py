"""Compositional accuracy for ``shapes`` and ``scenes``: does a picture show what its caption says? By geometry, untrained.

In the spirit of GenEval (Ghosh et al., arXiv 2310.11513), which detects objects and checks the prompt's
relations: each pixel is unmixed into background and one palette colour, each caption colour gives a coverage
map, and the map is compared with the renderer's own shapes drawn at its centroid.
``python -m bench.composition`` prints the accuracy on real images (the ceiling), on shuffled captions and on
noise (the floors).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from bench.metrics.metric import Drawn, Measure, Measured, Metric, register
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch

    from bench.data import sdf, shapes
else:
    sdf, shapes = lazy("bench.data.sdf"), lazy("bench.data.shapes")  # readers of results need none

Array = NDArray[np.float32]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

PARTS = ("colors", "shapes", "sizes", "relation", "background", "all")
"""What is judged of a generated picture; one object has no ``relation``. ``all`` is the conjunction of the others."""
BACKGROUND_DISTANCE = 64.0
"""RGB distance below which a pixel counts as background."""
BACKGROUND_SHARE = 0.2
"""Share of background pixels that a picture must have; real ones of 16 pixels have over a third, of 8 over .23."""
MIN_COSINE = 0.9
"""Least cosine between a pixel's offset from the background and that of its colour."""
MIN_ALPHA = 0.15
"""Least coverage that counts, against noise in flat regions."""
MIN_AREA = 0.5
"""Least area of an object over that of the smallest, the small bar's."""
MAX_MISFIT = 0.35
"""Largest squared error of the best template over the template's own square sum, for a shape to count."""

_CENTROID = {"triangle": 1 / 3}
"""Height of the centroid below the box's centre over ``r``; 0 for the symmetric shapes."""


@register("composition")
def composition() -> Measure:
    """Share of what the caption asks for that the picture shows, and the same part by part."""
    parts = (
        Metric(
            f"composition_{part}",
            f"{part} right" if part != "all" else "all right",
            True,
            f"share of pictures in which {part if part != 'all' else 'everything'} is as the caption says",
            digits=3,
            scale="share",
            per_sample=True,
            needs="shapes",
        )
        for part in PARTS
    )
    mean = Metric(
        "composition",
        "composition",
        True,
        "share of what the caption asks for that the picture shows",
        digits=3,
        scale="share",
        needs="shapes",
    )
    return Measure((mean, *parts), measured, uses=("captions",))


def measured(drawn: Drawn) -> Measured:
    """For ``shapes`` and ``scenes`` the share of pictures that show what their caption says: colours, shapes, sizes,
    relation (of two objects), background, all of them, and as ``composition`` the mean over these parts, as GenEval (arXiv
    2310.11513) averages over its tasks."""
    if drawn.reference.data.name not in shapes.WORLDS:
        return Measured({})
    parts = compositional_accuracy(drawn.images.numpy(), drawn.captions)
    values: dict[str, float | None] = {
        f"composition_{part}": float(hit.mean()) for part, hit in parts.items()
    }
    values["composition"] = float(np.mean([hit.mean() for part, hit in parts.items() if part != "all"]))
    return Measured(values, {f"composition_{part}": hit for part, hit in parts.items()})


def compositional_accuracy(
    images: NDArray[np.uint8] | torch.Tensor, captions: Sequence[str] | Ints
) -> dict[str, Array]:
    """Whether each picture shows what its caption says, part by part.

    Args:
        images: uint8 ``[N, 3, R, R]``.
        captions: N captions of ``shapes`` or of ``scenes``, or their attribute rows ``[N, 4]``, ``[N, 8]``.

    Returns:
        float32 ``[N]`` of 0 and 1 for each of :func:`parts_of`: all objects' colours (and no other), shapes and
        sizes (objects are identified by colour, so a swapped shape is wrong), the relation of two, the background,
        and ``all``. A part is 0 if an object that it speaks of is absent.

    Raises:
        UserError: wrong shapes, or a sentence that is no caption of ``shapes`` and ``scenes``.
    """
    pixels = images if isinstance(images, np.ndarray) else cast("NDArray[np.uint8]", images.cpu().numpy())
    if (
        pixels.ndim != 4
        or pixels.shape[1] != 3
        or pixels.shape[2] != pixels.shape[3]
        or pixels.dtype != np.uint8
    ):
        found = f"{pixels.dtype} {list(pixels.shape)}"
        raise UserError(f"compositional accuracy needs square uint8 images [N, 3, R, R], not {found}")
    rows = captions if isinstance(captions, np.ndarray) else parse_all(captions)
    if len(rows) != len(pixels):
        raise UserError(f"compositional accuracy: {len(pixels)} images, but captions for {len(rows)}")
    world = world_of(rows)
    step = max(1, 2**18 // pixels.shape[-1] ** 2)
    parts: dict[str, list[Array]] = {part: [np.zeros(0, np.float32)] for part in parts_of(world)}
    for start in range(0, len(pixels), step):
        judged = _judge(pixels[start : start + step], rows[start : start + step], world)
        for part, values in parts.items():
            values.append(judged[part].astype(np.float32))
    return {part: np.concatenate(values) for part, values in parts.items()}


def parts_of(world: shapes.World) -> tuple[str, ...]:
    """Those of :data:`PARTS` that a dataset has."""
    return tuple(part for part in PARTS if part != "relation" or world.objects > 1)


def parse_all(captions: Sequence[str]) -> Ints:
    rows = [shapes.parse(caption) for caption in captions]
    if len({len(row) for row in rows}) > 1:
        raise UserError("compositional accuracy: captions of one object and of two are judged apart")
    return np.stack(rows) if rows else np.zeros((0, len(shapes.SHAPES_WORLD.attributes)), np.int64)


def world_of(rows: Ints) -> shapes.World:
    return next(world for world in shapes.WORLDS.values() if rows.shape[1:] == (len(world.attributes),))


def _judge(images: NDArray[np.uint8], rows: Ints, world: shapes.World) -> dict[str, Bools]:
    pixels = images.reshape(len(images), 3, -1).astype(np.float32)
    resolution = images.shape[-1]
    background, flat = backgrounds(pixels)
    maps = unmix(pixels, background)
    areas = maps.mean(axis=2)
    every = np.arange(len(rows))
    least = MIN_AREA * 4 * sdf.BAR * world.radii[0] ** 2
    present, shape_ok, size_ok, centers = [], [], [], []
    for shape, color, size in ((3 * i, 3 * i + 1, 3 * i + 2) for i in range(world.objects)):
        mask = maps[every, rows[:, color]].reshape(-1, resolution, resolution)
        found_shape, found_size, center = match(mask, world)
        present.append(areas[every, rows[:, color]] > least)
        shape_ok.append(found_shape == rows[:, shape])
        size_ok.append(found_size == rows[:, size])
        centers.append(center)
    there = np.logical_and.reduce([*present, flat])
    for i in range(world.objects):
        areas[every, rows[:, 3 * i + 1]] = 0
    out = {
        "colors": there & (areas.max(axis=1) < least),
        "shapes": there & np.logical_and.reduce(shape_ok),
        "sizes": there & np.logical_and.reduce(size_ok),
        "background": flat & (background == rows[:, -1]),
    }
    if world.objects > 1:
        out["relation"] = there & (relation_of(centers[0], centers[1]) == rows[:, -2])
    out["all"] = np.logical_and.reduce(list(out.values()))
    return out


def backgrounds(pixels: Array) -> tuple[Ints, Bools]:
    """The commonest background colour of each picture, and whether it covers enough of it."""
    shares = []
    for color in shapes.BACKGROUND_RGB.astype(np.float32):
        offset = pixels - color[:, None]
        shares.append(np.mean(np.sum(offset * offset, axis=1) < BACKGROUND_DISTANCE**2, axis=1))
    share = np.stack(shares, axis=1)
    return np.argmax(share, axis=1), share.max(axis=1) >= BACKGROUND_SHARE


def unmix(pixels: Array, background: Ints) -> Array:
    """Coverage ``[N, 6, P]`` of each pixel by the one palette colour that explains it best, else 0.

    A pixel is ``background + alpha (color - background)``; the colour is the one of largest cosine, ``alpha``
    the least-squares coverage, clipped at 1.
    """
    back = shapes.BACKGROUND_RGB[background].astype(np.float32)
    offset = pixels - back[:, :, None]
    ways = shapes.PALETTE.astype(np.float32) - back[:, None, :]
    length = np.linalg.norm(ways, axis=2)[:, :, None]
    along = (ways @ offset) / length  # [N, 6, P]: length of the projection
    best = along.max(axis=1, keepdims=True)
    norm = np.sqrt(np.sum(offset * offset, axis=1, keepdims=True))
    alpha = np.minimum(along / length, 1)
    keep = (along == best) & (best > MIN_COSINE * norm) & (alpha > MIN_ALPHA)
    return np.where(keep, alpha, np.float32(0))


def match(mask: Array, world: shapes.World) -> tuple[Ints, Ints, Array]:
    """The best of the 12 templates (six shapes, two sizes), each drawn with its centroid at the mask's.

    Returns:
        shape ``[N]`` (-1 if none fits), size ``[N]``, and the centre ``[N, 2]`` (x, y) of the template's box.
    """
    resolution = mask.shape[-1]
    cx, cy = _centroid(mask, world)
    energy = np.einsum("nhw,nhw->n", mask, mask)
    misfits, errors, drops = [], [], []
    for shape in shapes.SHAPES:
        for radius in world.radii:
            drop = _CENTROID.get(shape, 0.0) * radius
            template = sdf.coverage(shape, cx, cy - np.float32(drop), np.full_like(cx, radius), resolution)
            own = np.einsum("nhw,nhw->n", template, template)
            error = energy + own - 2 * np.einsum("nhw,nhw->n", mask, template)
            errors.append(error)
            misfits.append(error / np.maximum(own, 1e-6))
            drops.append(drop)
    best = np.argmin(np.stack(errors), axis=0)
    fits = np.stack(misfits)[best, np.arange(len(mask))] < MAX_MISFIT
    center = np.stack([cx, cy - np.array(drops, np.float32)[best]], axis=1)
    count = len(world.radii)
    return np.where(fits, best // count, -1), best % count, center


def _centroid(mask: Array, world: shapes.World) -> tuple[Array, Array]:
    """Centroid ``(x, y)`` in frame units, taken twice: of all, then of what lies near the first."""
    grid = ((np.arange(mask.shape[-1]) + 0.5) / mask.shape[-1]).astype(np.float32)
    reach = np.float32(1.4 * max(world.radii))
    near_x = near_y = np.ones((len(mask), len(grid)), np.float32)
    for _ in range(2):
        total = np.maximum(np.einsum("nhw,nh,nw->n", mask, near_y, near_x, optimize=True), 1e-6)
        cx = np.einsum("nhw,nh,nw->n", mask, near_y, near_x * grid, optimize=True) / total
        cy = np.einsum("nhw,nh,nw->n", mask, near_y * grid, near_x, optimize=True) / total
        near_x = (np.abs(grid - cx[:, None]) < reach).astype(np.float32)
        near_y = (np.abs(grid - cy[:, None]) < reach).astype(np.float32)
    return cx, cy


def relation_of(first: Array, second: Array) -> Ints:
    """Index into RELATIONS by the axis along which the centres are farther apart."""
    dx, dy = (second - first).T
    found: Ints = np.argmax(np.stack([dx, -dx, dy, -dy]), axis=0)
    return found


def squares(count: int, world: shapes.World, resolution: int) -> tuple[NDArray[np.uint8], Ints]:
    """Pictures that show all that their captions say but the shapes, which are squares throughout; and the captions'
    attribute rows. The floor of a model that has learned colours, sizes and places only."""
    what = shapes.scenes(np.arange(count), world)
    flat = what.attributes.copy()
    flat[:, [3 * i for i in range(world.objects)]] = shapes.SHAPES.index("square")
    return shapes.render(shapes.Scenes(world, flat, what.centers), resolution), what.attributes
