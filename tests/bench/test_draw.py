"""``bench.draw``: pictures from a trained cell in one command, and its mistakes in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import draw

from .runs import SMALL, run

CAPTION = "a photo of the digit seven"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two formulations, two seeds, two datasets."""
    out = tmp_path_factory.mktemp("draw") / "run"
    sizes = [
        "--steps",
        "2",
        "--validations",
        "1",
        "--resolution",
        "8",
        "--compile",
        "off",
        "--settings",
        "1:1",
    ]
    done = run([*SMALL, *sizes, "--datasets", "digits", "shapes", "--seeds", "2", "--out", str(out)])
    assert done.returncode == 0, done.stderr
    return out


def pictures(run: Path, out: Path, *options: str) -> np.ndarray:
    argv = [
        str(run),
        "eps/linear",
        CAPTION,
        "--dataset",
        "digits",
        "--steps",
        "2",
        "--out",
        str(out),
        *options,
    ]
    assert draw.main(argv) == 0
    return np.asarray(Image.open(out))


def test_it_draws_and_repeats(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = pictures(trained, tmp_path / "a.png", "--n", "3")
    told = capsys.readouterr().out
    assert "3 of 'a photo of the digit seven' by eps/linear trained on digits, seed 0" in told
    assert "ema weights, sampler setting 2:2.5" in told
    assert first.shape == (128, 3 * 128 + 2 * 4, 3)
    blocks = first[:, :128].reshape(8, 16, 8, 16, 3)
    assert (blocks == blocks[:, :1, :, :1]).all(), "enlarged without smoothing"
    assert np.array_equal(first, pictures(trained, tmp_path / "b.png", "--n", "3"))
    assert not np.array_equal(first, pictures(trained, tmp_path / "c.png", "--n", "3", "--seed", "1"))
    one = pictures(trained, tmp_path / "d.png", "--n", "1")
    assert np.array_equal(one, first[:, :128]), "a picture does not depend on how many are drawn"


@pytest.mark.parametrize("option", [("--cfg", "1"), ("--solver", "ddim"), ("--grid", "clock")])
def test_every_option_counts(trained: Path, tmp_path: Path, option: tuple[str, str]) -> None:
    usual = pictures(trained, tmp_path / "a.png", "--n", "2")
    assert not np.array_equal(usual, pictures(trained, tmp_path / "b.png", "--n", "2", *option))


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["eps/linar", CAPTION], "did you mean 'eps/linear'?"),
        (["rf", CAPTION], "no cell of 'rf' is trained in this run"),
        (["eps/linear", CAPTION], "choose one with --dataset"),
        (["eps/linear", "a photo of the digit sevn", "--dataset", "digits"], "did you mean 'seven'?"),
        (["eps/linear", " ", "--dataset", "digits"], "the caption is empty"),
        (["eps/linear", CAPTION, "--dataset", "digit"], "did you mean 'digits'?"),
        (
            ["eps/linear", CAPTION, "--dataset", "digits", "--cell", "abc"],
            "--cell 'abc' is none of eps/linear's",
        ),
        (["eps/linear", CAPTION, "--n", "0"], "choose 1 to"),
        (["eps/linear", CAPTION, "--out", "x.jpg"], "name a .png file"),
        (["eps/linear", CAPTION, "--solver", "eulr"], "did you mean 'euler'?"),
        (["eps/linear", CAPTION, "--weights", "emma"], "choose from 'ema', 'raw'"),
    ],
)
def test_mistakes_are_one_sentence(
    trained: Path, argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert draw.main([str(trained), *argv]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert words in told
    assert told.count("\n") == 1


def test_a_folder_without_cells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert draw.main([str(tmp_path), "rf", CAPTION]) == 2
    assert "is no run folder" in capsys.readouterr().err
