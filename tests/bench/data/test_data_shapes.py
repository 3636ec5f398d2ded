"""The generated scenes: fixed for ever, one scene per index, exact captions, true anti-aliasing."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import data
from bench.data import sdf, shapes
from flowbench._core.errors import UserError

AREAS = {
    "circle": math.pi,
    "square": (2 * 0.88) ** 2,
    "triangle": 2.0,
    "bar": 2 * 0.9,
    "cross": 2 * 2 * 0.68 - 0.68**2,
    "ring": math.pi * (1 - 0.4**2),
}
"""Closed-form areas over r^2."""


ONE, TWO = shapes.WORLDS["shapes"], shapes.WORLDS["scenes"]
both = pytest.mark.parametrize("world", [ONE, TWO], ids=lambda world: world.name)


def inside(shape: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Membership of points for r = 1, written without distances."""
    wide, high = np.abs(x), np.abs(y)
    return {
        "circle": x**2 + y**2 < 1,
        "square": (wide < 0.88) & (high < 0.88),
        "triangle": (y < 1) & (2 * wide < y + 1),
        "bar": (wide < 1) & (high < 0.45),
        "cross": ((wide < 1) & (high < 0.34)) | ((wide < 0.34) & (high < 1)),
        "ring": (x**2 + y**2 < 1) & (x**2 + y**2 > 0.16),
    }[shape]


@pytest.mark.parametrize(
    ("world", "resolution", "digest"),
    [
        (ONE, 8, "e6d620a5c03a3f7f"),
        (ONE, 16, "24a0b150c21d82a8"),
        (TWO, 16, "aa21222a3428ddf8"),
        (TWO, 32, "3e0a88ddeeaa4e71"),
    ],
)
def test_first_images_are_golden(world: shapes.World, resolution: int, digest: str) -> None:
    images = shapes.render(shapes.scenes(np.arange(64), world), resolution)
    assert images.shape == (64, 3, resolution, resolution)
    assert images.dtype == np.uint8
    assert hashlib.sha256(images.tobytes()).hexdigest()[:16] == digest


def test_first_captions_are_golden() -> None:
    assert shapes.scenes(np.arange(3), ONE).captions() == (
        "a small blue circle on black",
        "a large blue bar on gray",
        "a large cyan triangle on gray",
    )
    assert shapes.scenes(np.arange(3), TWO).captions() == (
        "a small blue circle left of a small green bar on black",
        "a large blue bar right of a small yellow ring on gray",
        "a large cyan triangle above a small green triangle on gray",
    )


@both
def test_a_scene_depends_on_its_index_alone(world: shapes.World) -> None:
    chosen = [9001, 3, 4096, 4095]
    together = shapes.scenes(np.arange(9002), world)
    apart = shapes.scenes(chosen, world)
    assert np.array_equal(together.attributes[chosen], apart.attributes)
    assert np.array_equal(together.centers[chosen], apart.centers)


@both
def test_fewer_images_are_a_prefix_of_more(world: shapes.World) -> None:
    few = data.load(world.name, train=50, validation=10)
    more = data.load(world.name, train=300, validation=40)
    for side, count in (("train", 50), ("validation", 10)):
        small, large = getattr(few, side), getattr(more, side)
        assert len(small) == len(small.captions) == len(small.attributes) == count
        assert np.array_equal(small.reference, large.reference[:count])
        assert small.captions == large.captions[:count]
    assert few.digest != more.digest
    assert few.digest == data.load(world.name, train=50, validation=10).digest


def test_chunks_of_rendering_do_not_show() -> None:
    what = shapes.scenes(np.arange(1500), TWO)
    tail = shapes.Scenes(TWO, what.attributes[1400:], what.centers[1400:])
    assert np.array_equal(shapes.render(what, 16)[1400:], shapes.render(tail, 16))


@both
def test_resolutions_show_the_same_scene(world: shapes.World) -> None:
    what = shapes.scenes(np.arange(200), world)
    small = shapes.render(what, 16).astype(float)
    large = shapes.render(what, 32).astype(float).reshape(200, 3, 16, 2, 16, 2).mean((3, 5))
    assert np.abs(small - large).mean() < 2.0
    assert np.abs(small - large).max() < 100  # of 255, at a corner at most


@both
def test_twenty_thousand_images_are_distinct(world: shapes.World) -> None:
    images = shapes.render(shapes.scenes(np.arange(20_000), world), 16)
    assert len({image.tobytes() for image in images}) == 20_000


@pytest.mark.parametrize(("world", "counts"), [(ONE, [6, 6, 2, 3]), (TWO, [6, 6, 2, 6, 6, 2, 4, 3])])
def test_every_attribute_value_appears_uniformly(world: shapes.World, counts: list[int]) -> None:
    attributes = shapes.scenes(np.arange(20_000), world).attributes
    assert attributes.shape[1] == len(world.attributes) == len(counts)
    for column, count in enumerate(counts):
        seen = np.bincount(attributes[:, column], minlength=count)
        assert len(seen) == count
        assert np.abs(seen / 20_000 * count - 1).max() < 0.07  # about five standard deviations
    assert world is ONE or np.all(attributes[:, 1] != attributes[:, 4])


def test_the_object_stays_inside() -> None:
    what = shapes.scenes(np.arange(20_000), ONE)
    radii = np.array(ONE.radii)[what.attributes[:, [2]]]
    assert np.all(what.centers - radii[:, :, None] > -1e-9)
    assert np.all(what.centers + radii[:, :, None] < 1 + 1e-9)


def test_objects_stay_inside_apart_and_in_their_relation() -> None:
    what = shapes.scenes(np.arange(20_000), TWO)
    radii = np.array(TWO.radii)[what.attributes[:, [2, 5]]]
    assert np.all(what.centers - radii[:, :, None] > -1e-9)
    assert np.all(what.centers + radii[:, :, None] < 1 + 1e-9)
    dx, dy = (what.centers[:, 1] - what.centers[:, 0]).T
    along = np.choose(what.attributes[:, 6], [dx, -dx, dy, -dy])
    across = np.where(what.attributes[:, 6] < 2, np.abs(dy), np.abs(dx))
    assert np.all(along > radii.sum(1) + shapes.GAP - 1e-9)
    assert np.all(across <= shapes.TILT * along + 1e-9)


def test_pixels_far_from_edges_have_the_named_colors() -> None:
    row = [1, 0, 1, 0, 2, 1, 0, 0]  # a large red square left of a large blue circle on white
    what = shapes.Scenes(TWO, np.array([row]), np.array([[[0.25, 0.5], [0.75, 0.5]]]))
    image = shapes.render(what, 32)[0]
    assert image[:, 16, 8].tolist() == shapes.PALETTE[0].tolist()
    assert image[:, 16, 24].tolist() == shapes.PALETTE[2].tolist()
    assert image[:, 0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("shape", shapes.SHAPES)
@pytest.mark.parametrize("resolution", [16, 32])
def test_coverage_is_the_area_of_the_shape_in_each_pixel(shape: str, resolution: int) -> None:
    fine, radius = 16, 0.2
    rng = np.random.default_rng(5)
    cx, cy = rng.uniform(0.25, 0.75, (2, 20)).astype(np.float32)
    mask = sdf.coverage(shape, cx, cy, np.full(20, radius, np.float32), resolution)
    points = (np.arange(resolution * fine) + 0.5) / (resolution * fine)
    for i in range(20):
        hit = inside(shape, (points[None, :] - cx[i]) / radius, (points[:, None] - cy[i]) / radius)
        area = hit.reshape(resolution, fine, resolution, fine).mean((1, 3))
        assert np.abs(mask[i] - area).max() < 0.4  # a sharp tip within a pixel
        assert np.abs(mask[i] - area).sum() / area.sum() < 2.0 / resolution  # 12 corners of a cross
    assert mask.mean() == pytest.approx(AREAS[shape] * radius**2, rel=0.03)
    assert np.mean((mask > 0.05) & (mask < 0.95)) > 0.01  # edges are soft


ROWS = st.one_of(*(st.tuples(*(st.integers(0, n - 1) for n in world.counts)) for world in (ONE, TWO)))


@given(ROWS)
def test_captions_and_attributes_are_inverse(row: tuple[int, ...]) -> None:
    sentence = shapes.caption(row)
    assert shapes.parse(sentence).tolist() == list(row)
    assert len(sentence.split()) <= 14


def test_caption_order_names_the_reference_second() -> None:
    sentence = "a small red circle left of a large blue square on white"
    assert shapes.parse(sentence).tolist() == [0, 0, 0, 1, 2, 1, 0, 0]
    assert shapes.parse("a small red circle on white").tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("sentence", "message"),
    [
        ("a photo of the digit seven", "not an object"),
        ("a small red circel left of a large blue square on white", "'circle'"),
        ("a small crimson circle left of a large blue square on white", "unknown color 'crimson'"),
        ("a small red circle left of a large blue square on beige", "unknown background 'beige'"),
        ("red circle left of a large blue square on white", "not an object"),
    ],
)
def test_other_sentences_are_refused(sentence: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        shapes.parse(sentence)
