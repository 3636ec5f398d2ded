"""`python -m bench.autoencoder`: a folder that diffusers and `bench.encode` read, the same of the same recipe."""

from __future__ import annotations

import importlib.util
import re
import shlex
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from analysis import rank
from analysis.report.__main__ import main as report
from bench import autoencoder, data, draw, encode, grid
from bench.encoders.autoencoder_train import AutoencoderRecipe, psnr
from bench.pretrained import frozen_autoencoder

from .runs import SMALL as GRID

SMALL = (
    "--data shapes --resolution 16 --train 200 --validation 40 --factor 2 --width 8 --batch 16 "
    "--learning-rate 0.006 --device cpu"
)


def trained(out: Path, steps: int, *more: str) -> Path:
    """The folder of a small autoencoder."""
    assert autoencoder.main([*SMALL.split(), "--steps", str(steps), *more, "--out", str(out)]) == 0
    return out


def recipe_of(*options: str) -> AutoencoderRecipe:
    """The recipe that options ask for."""
    return autoencoder.recipe_of(autoencoder.parser().parse(["--data", "shapes", *options]))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An autoencoder that has seen each picture a few times."""
    return trained(tmp_path_factory.mktemp("autoencoder") / "small", 80)


def test_it_reconstructs_and_its_latents_are_scaled(small: Path) -> None:
    dataset = data.load("shapes", resolution=16, train=200, validation=40)
    images = torch.from_numpy(dataset.validation.reference[np.arange(40)])
    model = frozen_autoencoder.load(frozen_autoencoder.place(str(small)))
    latents = model.encode(images)[0]
    assert latents.shape == (40, 4, 8, 8)
    made = model.decode(latents).round().clamp(0, 255).to(torch.uint8)
    found = float(psnr(made, images).mean())
    assert f"{found:.2f} dB" in (small / "README.md").read_text()
    flat = images.float().mean((0, 2, 3), keepdim=True).round().to(torch.uint8).expand_as(images)
    assert found > float(psnr(flat, images).mean()) + 1, "better than one colour"

    train = torch.from_numpy(dataset.train.reference[np.arange(200)])
    mean, deviation = model.encode(train)
    assert deviation is not None
    assert float(mean.mean()) == pytest.approx(0, abs=1e-3)
    assert float((mean.square() + deviation.square()).mean()) == pytest.approx(1, abs=1e-3)
    with Image.open(small / "reconstructions.png") as picture:
        assert picture.width == picture.height


def test_from_images_to_a_page_in_latent_space(small: Path, tmp_path: Path) -> None:
    store, out = tmp_path / "latents", tmp_path / "run"
    given = ["--data", "shapes", "--resolution", "16", "--train", "96", "--validation", "48"]
    assert encode.main([*given, "--autoencoder", str(small), "--out", str(store)]) == 0
    uses = ["--datasets", f"encoded:{store}", "--resolution", "16", "--patch", "2", "--out", str(out)]
    assert grid.main([*GRID, *uses]) == 0
    assert rank.main([str(out)]) == 0
    assert report([str(out)]) == 0
    assert (out / "report.html").is_file()
    picture = tmp_path / "x.png"
    assert draw.main([str(out), "eps/linear", "a small red circle", "--out", str(picture)]) == 0
    with Image.open(picture) as drawn:
        assert drawn.mode == "RGB"


def test_the_recipe_decides_and_each_option_changes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = trained(tmp_path / "a", 2)
    assert re.search(r"trained for [0-9.e-]+ h on \S", capsys.readouterr().out), "printed, and in no file"
    again = trained(tmp_path / "b", 2)
    assert {f.name: f.read_bytes() for f in first.iterdir()} == {
        f.name: f.read_bytes() for f in again.iterdir()
    }
    known = {f.name for f in fields(AutoencoderRecipe)}
    assert known == {"data", *autoencoder.NUMBERS}
    assert recipe_of() == AutoencoderRecipe(data="shapes")
    for name in autoencoder.NUMBERS:
        value = {"kl": 0.5, "learning_rate": 0.5, "factor": 8}.get(name, 64)
        found = recipe_of("--" + name.replace("_", "-"), str(value))
        assert found == replace(AutoencoderRecipe(), **{name: value})
    command = next(line for line in (first / "README.md").read_text().splitlines() if "--data" in line)
    assert recipe_of(*shlex.split(command)[3:]) == recipe_of(*SMALL.split(), "--steps", "2")


def test_mistakes_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "x").touch()
    new = ["--out", str(tmp_path / "new")]
    for given, said in (
        (["--data", "shapes"], "--out is missing"),
        (new, "--data is missing"),
        ([*SMALL.split(), "--out", str(tmp_path / "there")], "name a new folder"),
        ([*SMALL.split(), *new, "--factor", "6"], "a power of two, the nearest is 4"),
        ([*SMALL.split(), *new, "--factor", "32"], "a multiple of --factor 32, the nearest is 32"),
        ([*SMALL.split(), *new, "--width", "20"], "a multiple of 8, the nearest is 16"),
        ([*SMALL.split(), *new, "--learning-rate", "0"], "must be between 0 and 1"),
        ([*SMALL.split(), *new, "--batch", "0"], "--batch 0: must be 1 or more"),
        ([*SMALL.split(), *new, "--data", "shapez"], "shapes"),
    ):
        assert autoencoder.main(given) == 2
        assert said in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["there"]


def test_without_diffusers_nothing_is_read(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence, of the autoencoder's training and of what reads one."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "diffusers" else found(name)
    )
    monkeypatch.setattr(data, "load", None)
    out = ["--data", "shapes", "--out", str(tmp_path / "out")]
    for command in (lambda: autoencoder.main(out), lambda: encode.main([*out, "--autoencoder", str(small)])):
        assert command() == 2
        error = capsys.readouterr().err
        assert error.endswith("needs diffusers: `pip install 'flowbench[latents]'`\n")
        assert error.count("\n") == 1
