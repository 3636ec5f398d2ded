"""``bench.geneval``: images of GenEval's prompts, judged by small detectors of the real classes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import geneval
from bench.drawing import prompts
from bench.geneval import Judged, half_width, scored
from bench.pretrained.detector import detector

from .detectors import mask2former, yolos
from .encoders import small_models

PLAIN = [
    {"tag": "single_object", "prompt": f"a photo of a {name}", "include": [{"class": name, "count": 1}]}
    for name in ("cup", "dog", "tv remote")
]
COLORED = [
    {"tag": "colors", "prompt": f"a {color} cup", "include": [{"class": "cup", "count": 1, "color": color}]}
    for color in ("red", "green")
]
EACH = 2


def drawn(folder: Path, about: list[dict[str, Any]]) -> Path:
    pixels = np.random.default_rng(1).integers(0, 256, (len(about) * EACH, 30, 40, 3), np.uint8)
    known = {"by": "rf, seed 0", "images": EACH, "prompts": about}
    prompts.write(folder, [prompts.Prompt(one["prompt"], one) for one in about], known, [pixels])
    return folder


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return yolos(tmp_path_factory.mktemp("yolos"))


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    def read() -> str:
        out, err = capsys.readouterr()
        return out + err

    return read


@pytest.mark.parametrize("kind", ["boxes", "masks"])
def test_what_a_detector_sees_decides(kind: str, boxes: Path, tmp_path: Path) -> None:
    model = boxes if kind == "boxes" else mask2former(tmp_path / "model")
    folder = drawn(tmp_path / "drawn", PLAIN)
    assert geneval.main([str(folder), "--detector", str(model), "--device", "cpu"]) == 0
    written = json.loads((folder / "geneval.json").read_text())
    look, labels = detector(str(model), "cpu"), ("cup", "dog", "remote")
    for number, one in enumerate(written["images"]):
        (seen,) = look([prompts.picture(folder / one["image"])], 0.3)
        assert one["correct"] == (labels[number // EACH] in {each.label for each in seen})
    means = np.array([one["correct"] for one in written["images"]]).mean()
    assert written["scores"]["geneval"]["value"] == pytest.approx(means)
    assert (written["by"], written["extractor"]) == ("rf, seed 0", None)


def test_colors_by_clip(boxes: Path, tmp_path: Path, said: Any) -> None:
    folder = drawn(tmp_path / "drawn", [*PLAIN, *COLORED])
    given = [str(folder), "--detector", str(boxes), "--device", "cpu"]
    assert geneval.main(given) == 2
    assert (
        "colors need --extractor clip:PATH, which names colours, or leave them out with --tasks single_object"
        in said()
    )
    assert geneval.main([*given, "--tasks", "single_object"]) == 0
    assert "| colors |" not in said()
    clip = f"clip:{small_models.clip(tmp_path)}"
    assert geneval.main([*given, "--extractor", clip, "--out", str(tmp_path / "all.json")]) == 0
    assert "| colors |" in said()
    written = json.loads((tmp_path / "all.json").read_text())
    assert written["extractor"].startswith("clip-")
    assert {one["tag"] for one in written["images"]} == {"single_object", "colors"}
    assert geneval.main([*given, "--extractor", clip, "--tasks", "single_object"]) == 2
    assert "none of these prompts has a colour" in said()
    assert geneval.main([*given, "--extractor", "efficientnet"]) == 2
    assert "it reads no text" in said()


def test_mistakes_in_one_sentence(boxes: Path, tmp_path: Path, said: Any) -> None:
    folder = drawn(tmp_path / "drawn", PLAIN)
    given = ["--detector", str(boxes), "--device", "cpu"]
    cases = (
        ([str(tmp_path), *given], "holds no prompts"),
        ([str(folder), "--detector", str(tmp_path)], "holds no object detection model"),
        ([str(folder), *given, "--tasks", "counting"], "has no prompt of counting"),
        ([str(folder), *given, "--out", str(tmp_path / "a" / "b.json")], "a folder that is there"),
        ([str(folder), *given, "--out", str(tmp_path)], "name a file"),
        ([str(drawn(tmp_path / "cat", [{"prompt": "a cat"}])), *given], "'a cat' is none of GenEval's"),
    )
    for argv, words in cases:
        assert geneval.main(argv) == 2
        text = said().strip()
        assert words in text
        assert "\n" not in text
    other = [{"tag": "single_object", "prompt": "a sink", "include": [{"class": "sink", "count": 1}]}]
    assert geneval.main([str(drawn(tmp_path / "sink", other)), *given]) == 2
    assert "the detector has no class 'sink'" in said()
    (folder / "00001" / "metadata.jsonl").unlink()
    assert geneval.main([str(folder), *given]) == 2
    assert "1 of its prompts are not drawn yet" in said()


def test_the_score_is_the_mean_over_tasks_and_its_interval_is_over_prompts() -> None:
    def judged(tag: str, *correct: bool) -> Judged:
        return Judged("p", tag, ("a",) * len(correct), correct)

    some = [judged("single_object", True, True)] * 30 + [
        judged("counting", True, False),
        judged("counting", False, False),
    ]
    found = scored(some)
    assert found["single_object"].value == 1
    assert found["single_object"].half == pytest.approx(0.1), "3 / n where all agree"
    assert found["counting"].value == pytest.approx(0.25)
    assert found["counting"].half == pytest.approx(1.96 * 0.25)
    assert found["geneval"].value == pytest.approx(0.625)
    assert found["geneval"].half == pytest.approx((0.1**2 + 0.49**2) ** 0.5 / 2)
    assert half_width(np.ones(1)) == 1


def test_the_interval_holds_the_mean_in_about_95_of_100_draws() -> None:
    draw = np.random.default_rng(0)
    rates = draw.beta(2, 3, (2000, 80))
    means = draw.binomial(4, rates) / 4
    held = [abs(one.mean() - 0.4) < half_width(one) for one in means]
    assert 0.93 < np.mean(held) < 0.97
