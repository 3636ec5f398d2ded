"""Compositional accuracy: right on real images, wrong for the changed part alone, 0 on nonsense."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench import composition
from bench.data import shapes
from bench.metrics.compositional_accuracy import PARTS, compositional_accuracy
from bench.metrics.geneval_tasks import TASKS
from flowbench._core.errors import UserError

COUNT = 600
ONE, TWO = shapes.WORLDS["shapes"], shapes.WORLDS["scenes"]
SCENES = shapes.scenes(np.arange(COUNT) + 50_000, TWO)
SINGLE = shapes.scenes(np.arange(COUNT) + 50_000, ONE)


@pytest.fixture(scope="module", params=[16, 32])
def images(request: pytest.FixtureRequest) -> np.ndarray:
    return shapes.render(SCENES, request.param)


@pytest.fixture(scope="module", params=[8, 16, 32])
def singles(request: pytest.FixtureRequest) -> np.ndarray:
    """Pictures of one object; ``quick`` has 8 pixels."""
    return shapes.render(SINGLE, request.param)


def means(scores: dict[str, np.ndarray]) -> dict[str, float]:
    return {part: float(score.mean()) for part, score in scores.items()}


def test_real_images_are_right(images: np.ndarray) -> None:
    scores = compositional_accuracy(images, SCENES.captions())
    assert {*scores} == {*PARTS}
    for score in scores.values():
        assert score.dtype == np.float32
        assert score.shape == (COUNT,)
        assert score.mean() > 0.995


def test_real_images_of_one_object_are_right(singles: np.ndarray) -> None:
    scores = compositional_accuracy(singles, SINGLE.captions())
    assert tuple(scores) == ("colors", "shapes", "sizes", "background", "all"), "one object has no relation"
    assert min(means(scores).values()) > 0.995


@pytest.mark.parametrize(
    ("column", "count", "wrong"), [(0, 6, "shapes"), (1, 6, "colors"), (2, 2, "sizes"), (3, 3, "background")]
)
def test_one_changed_word_of_one_object_is_noticed(
    singles: np.ndarray, column: int, count: int, wrong: str
) -> None:
    rows = SINGLE.attributes.copy()
    rows[:, column] = (rows[:, column] + 1) % count
    scores = means(compositional_accuracy(singles, rows))
    assert scores[wrong] < 0.005
    assert scores["all"] < 0.005
    absent = ("shapes", "sizes") if wrong == "colors" else ()
    assert all(scores[part] > 0.99 for part in scores if part not in (wrong, "all", *absent))


@pytest.mark.parametrize("world", [ONE, TWO], ids=lambda world: world.name)
def test_squares_are_right_but_for_the_shapes(world: shapes.World) -> None:
    images, rows = composition.squares(COUNT, world, 16)
    scores = means(compositional_accuracy(images, rows))
    assert scores["shapes"] == pytest.approx(6.0**-world.objects, abs=0.04)
    assert scores["all"] == scores["shapes"]
    assert all(scores[part] > 0.995 for part in scores if part not in ("shapes", "all"))


def test_captions_attributes_and_tensors_are_judged_alike(images: np.ndarray) -> None:
    by_caption = compositional_accuracy(images, SCENES.captions())
    by_row = compositional_accuracy(torch.from_numpy(images), SCENES.attributes)
    assert all(np.array_equal(by_caption[part], by_row[part]) for part in PARTS)


def test_shuffled_captions_are_at_chance(images: np.ndarray) -> None:
    floor = means(compositional_accuracy(images, np.roll(SCENES.attributes, 1, axis=0)))
    assert floor["colors"] == pytest.approx(1 / 15, abs=0.04)  # unordered pairs of six colours
    assert floor["background"] == pytest.approx(1 / 3, abs=0.08)
    assert floor["all"] < 0.005


@pytest.mark.parametrize(
    ("column", "count", "wrong"),
    [
        (0, 6, "shapes"),
        (3, 6, "shapes"),
        (2, 2, "sizes"),
        (5, 2, "sizes"),
        (6, 4, "relation"),
        (7, 3, "background"),
    ],
)
def test_one_changed_word_fails_its_part_alone(
    images: np.ndarray, column: int, count: int, wrong: str
) -> None:
    rows = SCENES.attributes.copy()
    rows[:, column] = (rows[:, column] + 1) % count
    scores = means(compositional_accuracy(images, rows))
    assert scores[wrong] < 0.005
    assert scores["all"] < 0.005
    assert all(scores[part] > 0.99 for part in PARTS if part not in (wrong, "all"))


def test_swapped_colors_break_the_binding(images: np.ndarray) -> None:
    rows = SCENES.attributes.copy()
    rows[:, [1, 4]] = rows[:, [4, 1]]
    scores = compositional_accuracy(images, rows)
    same = SCENES.attributes[:, 0] == SCENES.attributes[:, 3]
    assert scores["colors"].mean() > 0.99
    assert np.array_equal(scores["shapes"] > 0, same)
    assert scores["relation"].mean() < 0.005


def test_an_absent_object_fails_all_but_the_background(images: np.ndarray) -> None:
    rows = SCENES.attributes.copy()
    others = [next(c for c in range(6) if c not in (a, b)) for a, b in rows[:, [1, 4]].tolist()]
    rows[:, 4] = others
    scores = means(compositional_accuracy(images, rows))
    assert scores.pop("background") > 0.99
    assert max(scores.values()) < 0.005


def test_a_third_object_is_one_too_many() -> None:
    rows = np.array([[0, 0, 0, 0, 1, 0, 0, 1]])  # small red circle left of small green circle on black
    image = shapes.render(shapes.Scenes(TWO, rows, np.array([[[0.2, 0.3], [0.8, 0.3]]])), 32)
    assert compositional_accuracy(image, rows)["all"] == 1
    image[0, :, 22:30, 12:20] = shapes.PALETTE[2][:, None, None]
    scores = compositional_accuracy(image, rows)
    assert scores["colors"] == 0
    assert scores["shapes"] == 1


@pytest.mark.parametrize("value", [0, 90, 255])
def test_flat_images_show_no_objects(value: int) -> None:
    flat = np.full((COUNT, 3, 16, 16), value, np.uint8)
    scores = means(compositional_accuracy(flat, SCENES.attributes))
    scores.pop("background")
    assert set(scores.values()) == {0.0}


def test_noise_shows_nothing() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (COUNT, 3, 16, 16), np.uint8)
    assert set(means(compositional_accuracy(noise, SCENES.attributes)).values()) == {0.0}


def test_light_noise_does_no_harm(images: np.ndarray) -> None:
    noisy = images + np.random.default_rng(1).normal(0, 10, images.shape)
    scores = means(compositional_accuracy(np.clip(noisy, 0, 255).astype(np.uint8), SCENES.attributes))
    assert scores["all"] > 0.98


def test_no_images_give_empty_scores() -> None:
    scores = compositional_accuracy(np.zeros((0, 3, 16, 16), np.uint8), [])
    assert all(score.shape == (0,) for score in scores.values())


def test_wrong_input_is_refused() -> None:
    image = np.zeros((2, 3, 16, 16), np.uint8)
    with pytest.raises(UserError, match="2 images, but captions for 1"):
        compositional_accuracy(image, SCENES.captions()[:1])
    with pytest.raises(UserError, match="uint8 images"):
        compositional_accuracy(image[:, :1], SCENES.captions()[:2])
    with pytest.raises(UserError, match="judged apart"):
        compositional_accuracy(image, ["a small red circle on white", SCENES.captions()[0]])
    with pytest.raises(UserError, match="not an object"):
        compositional_accuracy(image[:1], ["a photo of the digit one"])


def test_command_prints_ceiling_and_floors(capsys: pytest.CaptureFixture[str]) -> None:
    assert composition.main(["--count", "200", "--resolution", "16"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    half = len(lines) // 2
    assert [lines[0], lines[half]] == [["dataset", "images", "px", *names] for names in (PARTS, TASKS)]
    table, other = (
        {tuple(line[:2]): [float(v) for v in line[3:]] for line in part[1:]}
        for part in (lines[:half], lines[half:])
    )
    for world in shapes.WORLDS:
        assert min(other[world, "real"]) > 0.98
        assert max(other[world, "noise"]) == 0
        assert other[world, "squares"][-1] < 0.25
        assert min(table[world, "real"]) > 0.98
        assert table[world, "shuffled"][-1] < 0.01
        assert max(table[world, "noise"]) == 0
        assert table[world, "squares"][0] == 1, "the colors are right"
        assert table[world, "squares"][1] < 0.25
    assert composition.main(["--count", "0"]) == 2
    assert capsys.readouterr().err.startswith("error: ")
