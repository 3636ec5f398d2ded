"""``bench.draw``: pictures from a trained cell in one command, and its mistakes in one sentence."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench import draw, drawing, grid
from bench.cli.parser import parse
from bench.config.sampling_settings import Setting
from bench.data import load
from bench.sampling.generate import start_noise
from bench.worker import generated_images as kept
from bench.worker.setup import choose
from flowbench._core.errors import UserError

from .conftest import run_here
from .runs import SMALL

CAPTION = "a photo of the digit seven"


SIZES = (
    "--steps 4 --warmup 1 --validations 1 --resolution 8 --compile off --settings 2:2.5 --datasets digits shapes"
    " --seeds 2 --samples 8"
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two formulations, two seeds, two datasets."""
    out = tmp_path_factory.mktemp("draw") / "run"
    with pytest.MonkeyPatch.context() as patch:
        run_here(patch)
        assert grid.main([*SMALL, *SIZES.split(), "--out", str(out)]) == 0
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
    printed = capsys.readouterr().out
    assert "3 of 'a photo of the digit seven' by eps/linear trained on digits, seed 0" in printed
    assert "ema weights, sampler setting 2:2.5" in printed
    assert first.shape == (128, 3 * 128 + 2 * 4, 3)
    blocks = first[:, :128].reshape(8, 16, 8, 16, 3)
    assert (blocks == blocks[:, :1, :, :1]).all(), "enlarged without smoothing"
    assert np.array_equal(first, pictures(trained, tmp_path / "b.png", "--n", "3"))
    assert not np.array_equal(first, pictures(trained, tmp_path / "c.png", "--n", "3", "--seed", "1"))
    one = pictures(trained, tmp_path / "d.png", "--n", "1")
    assert np.array_equal(one, first[:, :128]), "a picture does not depend on how many are drawn"


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_it_draws_what_the_run_has_drawn(trained: Path, weights: Any) -> None:
    """From the run's own noise for its caption: one picture alone, where the run drew a pack's together."""
    made = parse([*SMALL, *SIZES.split()]).grid
    cell = drawing.choose(drawing.trained(trained), "eps/linear", "digits", None)
    (file,) = cell.folder.glob(f"images-*/{weights}-2-2.5.safetensors")
    there = kept.read(file).images
    images = made.images
    data = load("digits", resolution=8, train=images.train, validation=images.validation)
    noise = start_noise("digits", len(there), (1, 8, 8))
    captions = choose(data, made.evaluation)
    for i in (0, 7):
        (again,) = drawing.draw(
            cell, captions[i : i + 1], Setting(2, 2.5), weights, lambda _, i=i: noise[i : i + 1]
        )
        # products of other sizes may be rounded otherwise
        assert np.abs(again.numpy().astype(int) - there[i].numpy()).max() <= 1
    assert there[0].float().std() > 10


def test_weights_of_milestones_have_any_spelling(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = drawing.choose(drawing.trained(trained), "eps/linear", "digits", None)
    file = cell.folder / "raw@0.5.safetensors"
    file.symlink_to("raw.safetensors")
    try:
        early = pictures(trained, tmp_path / "a.png", "--weights", "raw@0.50")
    finally:
        file.unlink()
    assert "raw@0.50 weights" in capsys.readouterr().out
    assert np.array_equal(early, pictures(trained, tmp_path / "b.png", "--weights", "raw"))


@pytest.mark.parametrize(
    "option", [("--cfg", "1"), ("--solver", "ddim"), ("--grid", "clock"), ("--weights", "raw")]
)
def test_every_option_counts(trained: Path, tmp_path: Path, option: tuple[str, str]) -> None:
    usual = pictures(trained, tmp_path / "a.png", "--n", "2")
    assert not np.array_equal(usual, pictures(trained, tmp_path / "b.png", "--n", "2", *option))


DIGITS = [f"a photo of the digit {name}" for name in ("seven", "one", "four")]


def drawn_prompts(run: Path, file: Path, out: Path, *options: str) -> int:
    argv = [str(run), "eps/linear", "--dataset", "digits", "--steps", "2", "--prompts", str(file)]
    return draw.main([*argv, "--out", str(out), *options])


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """In GenEval's form."""
    file = tmp_path / "evaluation_metadata.jsonl"
    lines = [
        {"tag": "single_object", "include": [{"class": "digit", "count": 1}], "prompt": d} for d in DIGITS
    ]
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


def test_prompts_of_others_are_drawn_into_the_folders_that_geneval_reads(
    trained: Path, prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "images"
    assert drawn_prompts(trained, prompts, out, "--n", "2") == 0
    assert f"{out}: 2 of each of 3 prompts by eps/linear trained on digits" in capsys.readouterr().out
    found = []
    for folder in sorted(
        p for p in out.iterdir() if p.is_dir() and p.name.isdigit()
    ):  # as its evaluation does
        about = json.loads((folder / "metadata.jsonl").read_text())
        images = [f for f in sorted((folder / "samples").iterdir()) if re.match(r"\d+\.png", f.name)]
        found.append((folder.name, about["tag"], about["prompt"], len(images)))
    assert found == [(f"{i:05}", "single_object", digit, 2) for i, digit in enumerate(DIGITS)]
    (cell,) = {drawing.choose(drawing.trained(trained), "eps/linear", "digits", None)}
    expected = cell.sample(DIGITS, n=2, steps=2)
    for i, image in enumerate(expected):
        there = np.asarray(Image.open(out / f"{i // 2:05}" / "samples" / f"{i % 2:05}.png"))
        assert np.abs(there.astype(int) - image).max() <= 1

    kept = {f: f.stat().st_mtime_ns for f in out.rglob("0000[02]/**/*.png")}
    before = (out / "00001" / "samples" / "00001.png").read_bytes()
    (out / "00001" / "metadata.jsonl").unlink()
    (out / "00001" / "samples" / "00001.png").unlink()
    assert drawn_prompts(trained, prompts, out, "--n", "2") == 0
    assert {f: f.stat().st_mtime_ns for f in kept} == kept, "what is there is not drawn again"
    again = np.asarray(Image.open(out / "00001" / "samples" / "00001.png")).astype(int)
    assert np.abs(again - np.asarray(Image.open(io.BytesIO(before)))).max() <= 1

    capsys.readouterr()
    assert drawn_prompts(trained, prompts, out, "--n", "2", "--seed", "1") == 2
    assert "holds images of other prompts, or drawn otherwise" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((CAPTION,), "--prompts and a caption: choose one"),
        (("--n", "0"), "choose 1 to 256 images of each prompt"),
        (("--weights", "emma"), "choose from 'ema', 'raw'"),
        (("--weights", "ema@0.50"), "keeps other weights only"),
        (("--out", "."), "is not an empty folder"),
    ],
)
def test_mistakes_with_prompts(
    trained: Path, prompts: Path, tmp_path: Path, options: tuple[str, ...], words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert drawn_prompts(trained, prompts, tmp_path / "images", *options) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "images").exists()


def test_a_word_that_is_not_known_draws_nothing(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.tsv").write_text(f"Prompt\tCategory\n{CAPTION}\tNumbers\na photo of a bench\tArtifacts\n")
    assert drawn_prompts(trained, tmp_path / "p.tsv", tmp_path / "images") == 2
    assert "does not know the word 'bench'" in capsys.readouterr().err
    assert not (tmp_path / "images").exists()
    assert draw.main([str(trained), "eps/linear", "--prompts", str(tmp_path / "p.tsv")]) == 2
    assert "--prompts needs --out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "say what to draw: a caption, or --prompts FILE"),
        (["eps/linar", CAPTION], "did you mean 'eps/linear'?"),
        (["rf", CAPTION], "no cell of 'rf' is trained in this run"),
        (["eps/linear", CAPTION], "choose one with --dataset"),
        (["eps/linear", "a photo of the digit sevn", "--dataset", "digits"], "did you mean 'seven'?"),
        (["eps/linear", " ", "--dataset", "digits"], "the caption is empty"),
        (
            ["eps/linear", "a photo of 流", "--dataset", "digits"],
            "does not know the word '流'; known: 'a', 'above', ",
        ),
        (
            ["eps/linear", f"{CAPTION} " * 9, "--dataset", "digits"],
            "does not read so many words, choose fewer",
        ),
        (["eps/linear", CAPTION, "--dataset", "digit"], "did you mean 'digits'?"),
        (
            ["eps/linear", CAPTION, "--dataset", "digits", "--cell", "abc"],
            "--cell 'abc' is none of eps/linear's",
        ),
        (["eps/linear", CAPTION, "--dataset", "digits", "--n", "0"], "choose 1 to"),
        (["eps/linear", CAPTION, "--out", "x.jpg"], "name a .png file"),
        (
            ["eps/linear", CAPTION, "--dataset", "digits", "--solver", "eulr"],
            "did you mean 'euler' or 'heun'?",
        ),
        (["eps/linear", CAPTION, "--dataset", "digits", "--weights", "emma"], "choose from 'ema', 'raw'"),
    ],
)
def test_mistakes_are_one_sentence(
    trained: Path, argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert draw.main([str(trained), *argv]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert words in error
    assert error.count("\n") == 1


def test_numbers_in_the_name_of_a_plugins_formulation_have_any_spelling(trained: Path) -> None:
    (cell, *_) = drawing.trained(trained)
    own = replace(cell, cell=replace(cell.cell, formulation="my/late(2.00)"))
    assert drawing.choose([own], "my/late(2)", None, None) == own


def test_cells_that_differ_in_their_network_are_named_by_it(trained: Path) -> None:
    cell = drawing.choose(drawing.trained(trained), "eps/linear", "digits", None)
    model = replace(cell.cell.model, architecture="dit")
    other = replace(cell, cell=replace(cell.cell, model=model))
    with pytest.raises(UserError, match=r"\(mmdit, depth .*\(dit, depth "):
        drawing.choose([cell, other], "eps/linear", "digits", None)


def test_the_defaults_in_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        draw.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "images (default 8, of each prompt 4)" in text
    assert "of the noise to start from (default 0)" in text


def test_no_drawing_takes_the_place_of_another(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """But where a file is named, it is written."""
    monkeypatch.chdir(tmp_path)
    argv = [str(trained), "eps/linear", CAPTION, "--dataset", "digits", "--steps", "1", "--n", "1"]
    for more in ((), ("--seed", "1"), ("--out", "mine.png"), ("--seed", "1", "--out", "mine.png")):
        assert draw.main([*argv, *more]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("drawing-2.png: 1 of ")
    assert {file.name for file in tmp_path.iterdir()} == {"drawing.png", "drawing-2.png", "mine.png"}
    assert Path("drawing.png").read_bytes() != Path("drawing-2.png").read_bytes()
    assert Path("mine.png").read_bytes() == Path("drawing-2.png").read_bytes()


def test_a_damaged_cell_is_named(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cells" / "c").mkdir(parents=True)
    (tmp_path / "cells" / "c" / "ema.safetensors").touch()
    file = tmp_path / "cells" / "c" / "config.json"
    for content in ("{}", '{"cell": {"form": 1}}', '{"cell": 3}', '{"ce'):
        file.write_text(content)
        assert draw.main([str(tmp_path), "rf", CAPTION]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: {file} cannot be read (")
        assert error.count("\n") == 1


def test_a_folder_without_cells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert draw.main([str(tmp_path), "rf", CAPTION]) == 2
    assert "is no run folder" in capsys.readouterr().err
