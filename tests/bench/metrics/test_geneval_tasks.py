"""GenEval's tasks: right on real images, wrong for the changed word alone, and the score is the mean over tasks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bench.data import shapes
from bench.metrics.geneval_tasks import TASKS, tasks, tasks_of
from bench.metrics.metric import get

COUNT = 300
ONE, TWO = shapes.WORLDS["shapes"], shapes.WORLDS["scenes"]
SINGLE = shapes.scenes(np.arange(COUNT) + 50_000, ONE)
SCENES = shapes.scenes(np.arange(COUNT) + 50_000, TWO)


def means(images: np.ndarray, rows: Any) -> dict[str, float]:
    return {task: float(hit.mean()) for task, hit in tasks(images, rows).items()}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return shapes.render(SCENES, 16)


@pytest.mark.parametrize(
    ("what", "side"), [(SINGLE, 8), (SINGLE, 16), (SINGLE, 32), (SCENES, 16), (SCENES, 32)]
)
def test_real_images_fulfil_every_task_of_their_captions(what: shapes.Scenes, side: int) -> None:
    found = tasks(shapes.render(what, side), what.captions())
    assert set(found) == set(tasks_of(what.world))
    for hit in found.values():
        assert (hit.dtype, hit.shape) == (np.float32, (COUNT,))
        assert hit.mean() > 0.995


def test_the_six_tasks_are_those_of_genevals_prompts() -> None:
    names = ["single_object", "two_object", "counting", "colors", "position", "color_attr"]
    assert list(TASKS) == names
    assert {*tasks_of(ONE), *tasks_of(TWO)} == set(names)


@pytest.mark.parametrize(
    ("column", "values", "wrong"),
    [(0, 6, {"single_object", "colors"}), (1, 6, {"colors"}), (2, 2, set()), (3, 3, set())],
    ids=["shape", "color", "size", "background"],
)
def test_a_changed_word_of_one_object(column: int, values: int, wrong: set[str]) -> None:
    rows = SINGLE.attributes.copy()
    rows[:, column] = (rows[:, column] + 1) % values
    for task, mean in means(shapes.render(SINGLE, 16), rows).items():
        assert mean < 0.005 if task in wrong else mean > 0.99, task


def test_colors_that_are_swapped_fail_attribution_alone(images: np.ndarray) -> None:
    rows = SCENES.attributes.copy()
    rows[:, [1, 4]] = rows[:, [4, 1]]
    found = tasks(images, rows)
    same = rows[:, 0] == rows[:, 3]
    assert np.array_equal(found.pop("color_attr") > 0, same)
    assert min(hit.mean() for hit in found.values()) > 0.99


def test_another_relation_fails_position_alone(images: np.ndarray) -> None:
    rows = SCENES.attributes.copy()
    rows[:, 6] = (rows[:, 6] + 2) % 4  # along the other axis
    found = means(images, rows)
    assert found.pop("position") < 0.005
    assert min(found.values()) > 0.99


def test_two_of_the_same_shape_are_two_objects() -> None:
    rows = SCENES.attributes.copy()
    rows[:, 3] = rows[:, 0]
    assert min(means(shapes.render(shapes.Scenes(TWO, rows, SCENES.centers), 16), rows).values()) > 0.99
    alone = shapes.Scenes(shapes.World("alone", 1, TWO.radii), rows[:, [0, 1, 2, 7]], SCENES.centers[:, :1])
    assert set(means(shapes.render(alone, 16), rows).values()) == {0}


def test_a_third_object_fails_counting_alone() -> None:
    rows = np.array([[0, 0, 0, 0, 1, 0, 0, 1]])  # small red circle left of small green circle on black
    image = shapes.render(shapes.Scenes(TWO, rows, np.array([[[0.2, 0.3], [0.8, 0.3]]])), 32)
    assert means(image, rows) == dict.fromkeys(tasks_of(TWO), 1)
    image[0, :, 22:30, 12:20] = shapes.PALETTE[0][:, None, None]  # of a color that is there already
    assert means(image, rows) == {"two_object": 1, "counting": 0, "position": 1, "color_attr": 1}


@pytest.mark.parametrize("value", [0, 90, 255, None])
def test_flat_images_and_noise_show_nothing(value: int | None) -> None:
    shape = (COUNT, 3, 16, 16)
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    found = means(noise if value is None else np.full(shape, value, np.uint8), SCENES.attributes)
    assert set(found.values()) == {0}


def test_the_score_is_the_mean_over_tasks(images: np.ndarray) -> None:
    captions = [*SCENES.captions()[1:], SCENES.captions()[0]]
    data = SimpleNamespace(name="scenes")
    drawn: Any = SimpleNamespace(
        images=torch.from_numpy(images), captions=captions, reference=SimpleNamespace(data=data)
    )
    found = get("geneval").of(drawn)
    each = [found.values[f"geneval_{task}"] for task in tasks_of(TWO)]
    assert found.values["geneval"] == pytest.approx(np.mean(each))
    assert {name: hit.mean() for name, hit in found.per_sample.items()} == pytest.approx(
        {name: value for name, value in found.values.items() if name != "geneval"}
    )
    data.name = "digits"
    assert get("geneval").of(drawn).values == {}
