"""The datasets of docs/plugins.md, each a file outside the tree: checked, trained on, ranked, shown and drawn from."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import flowbench
from analysis import rank
from analysis.report.__main__ import main as report
from bench import data, draw, grid, plugins
from bench.data import Builder, Dataset, Picked, Scale, Split, build, register
from bench.data.builder import registry
from bench.data.check_dataset import check
from bench.planning.requirements import Requirements
from bench.worker.setup import make
from flowbench._core import atomic
from flowbench._core.errors import UserError
from flowbench._core.plugin import load_plugin

from ..conftest import CPU, TINY
from ..runs import SMALL

PAGE = (
    (Path(flowbench.ROOT) / "docs" / "plugins.md")
    .read_text(encoding="utf-8")
    .partition("## Add a dataset")[2]
)


def written(name: str, folder: Path) -> str:
    """A file of the page."""
    found = re.search(rf"`{name}.py`:\n\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert found
    file = folder / f"{name}.py"
    file.write_text(found[1])
    return str(file)


@pytest.mark.parametrize(
    ("name", "spec", "caption", "inputs"),
    [
        ("stripes", "stripes:count=3", "a red bar above a red bar", [3, 16, 16]),
        ("haar", "haar:shapes", "a small red circle on white", [12, 8, 8]),
    ],
)
def test_it_is_checked_trained_ranked_shown_and_drawn_from(
    name: str, spec: str, caption: str, inputs: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = written(name, tmp_path), tmp_path / "run"
    assert plugins.main(["check", "dataset", spec, "--plugin", file]) == 0
    assert f"dataset {spec}: ok\n  shapes: images [3, 16, 16], inputs {inputs}" in capsys.readouterr().out
    assert grid.main([*SMALL, "--plugin", file, "--datasets", spec, "--patch", "2", "--out", str(out)]) == 0
    configs = [json.loads(config.read_text()) for config in out.glob("cells/*/config.json")]
    assert {config["cell"]["dataset"] for config in configs} == {spec}
    for kept in out.glob("cells/*/images-*/*.safetensors"):
        assert atomic.read_tensors(kept)[0]["images"].shape == (12, 3, 16, 16), "decoded"
    assert list(out.glob("cells/*/images-*/*.safetensors"))
    assert "fid_real" in (out / "real-scores.json").read_text()
    capsys.readouterr()
    assert rank.main([str(out)]) == 0
    ranking = capsys.readouterr().out
    assert "rf/lognorm(0.00,1.00)" in ranking
    assert ("decoded images" in ranking) == (name == "haar")
    assert report([str(out)]) == 0
    assert spec in (out / "report.html").read_text()
    picture = tmp_path / "x.png"
    assert draw.main([str(out), "eps/linear", caption, "--plugin", file, "--out", str(picture)]) == 0
    with Image.open(picture) as image:
        assert image.size[0] >= 16


def test_plans_and_cells_agree_on_inputs_that_are_no_pixels(tmp_path: Path) -> None:
    load_plugin(written("haar", tmp_path))
    small = replace(TINY, datasets=("haar:digits",))
    made = make("haar:digits", small, CPU)
    side = small.images.resolution
    assert made.shape(small.model) == Requirements(small, "haar:digits").shape
    assert made.data.train.shape == (4, side // 2, side // 2)
    rows = np.arange(len(made.data.validation))
    assert np.array_equal(
        made.data.decode(made.data.validation.batch(rows)), made.data.validation.reference[rows]
    )
    inputs = made.data.train.batch(np.arange(len(made.data.train)))
    assert inputs.double().mean().item() == pytest.approx(0, abs=1e-5)
    assert inputs.double().std(correction=0).item() == pytest.approx(1, abs=1e-5)


def test_a_default_option_is_no_part_of_the_name_and_another_file_is_another_decoder(tmp_path: Path) -> None:
    load_plugin(written("stripes", tmp_path))
    assert data.canonical("stripes:count=2") == "stripes"
    assert data.canonical("stripes:count=4") == "stripes:count=4"
    assert (
        data.load("stripes", train=9, validation=3).digest
        == data.load("stripes:count=2", train=9, validation=3).digest
    )
    file = Path(written("haar", tmp_path))
    load_plugin(file)
    before = data.load("haar:digits", train=9, validation=3).digest
    assert data.canonical("haar:digits") == "haar:digits"
    file.write_text(file.read_text() + "\n# another text\n")
    load_plugin(file)
    assert data.load("haar:digits", train=9, validation=3).digest != before


def test_mistakes_are_one_sentence_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    haar, stripes, out = written("haar", tmp_path), written("stripes", tmp_path), tmp_path / "run"
    for options, sentence in (
        (["stripe"], "no dataset is called 'stripe'; did you mean 'stripes'"),
        (["stripes:cont=3"], "stripes has no option 'cont'; did you mean 'count'"),
        (["stripes:count=many"], "count=many is no int"),
        (["haar"], "names no dataset: give haar:DATASET"),
        (
            ["haar:shapes", "--patch", "16"],
            "--patch 16 does not divide the edge of the inputs of haar:shapes, 8",
        ),
    ):
        assert grid.main([*SMALL, "--plugin", haar, stripes, "--out", str(out), "--datasets", *options]) == 2
        error = capsys.readouterr().err
        assert sentence in error
        assert error.count("\n") == 1
    assert not out.exists()


class Faulty(Builder):
    """Eight-pixel noise with one fault."""

    channels = 1

    def __init__(self, fault: str) -> None:
        self.fault, self.loads = fault, 0
        self.words = 1 if fault == "words" else 2

    def load(self, name: str, images: data.builder.Images) -> Dataset:
        self.loads += 1
        return build(
            name,
            (self.side(images.train, 0), self.side(images.validation, int(self.fault != "copy"))),
            decoder=self.decoder,
        )

    @property
    def decoder(self):
        return {"blur": lambda values: values * 0 + 128, "shape": lambda values: values[:, :, 1:]}.get(
            self.fault
        )

    def side(self, count: int, seed: int) -> Split:
        count += self.fault == "many"
        rng = np.random.default_rng((seed, self.loads if self.fault == "random" else 0))
        pixels = rng.integers(0, 256, (count, 1, 16, 16), np.uint8)
        if self.fault == "resolution":
            pixels = pixels[:, :, :8, :8]
        if self.fault == "float":
            pixels = pixels.astype(np.int64)
        captions = ("",) * count if self.fault == "captions" else ("a square",) * count
        values = pixels.astype(np.float32) if self.decoder else None
        return Split(Turned(pixels) if self.fault == "rows" else pixels, captions, values=values)


class Turned(np.ndarray):
    """Rows in an order of their own."""

    def __new__(cls, pixels: np.ndarray) -> np.ndarray:
        return pixels.view(cls)

    def __getitem__(self, rows: object) -> np.ndarray:
        return np.asarray(self)[np.sort(rows)]  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("many", "65 training images, where 64 were asked for"),
        ("resolution", r"are uint8 \[1, 8, 8\], but uint8 \[1, 16, 16\] is declared"),
        ("float", "are int64"),
        ("captions", "caption is empty"),
        ("words", "captions of 1 words at most, and has one of 2"),
        ("rows", "depend on which rows are read together"),
        ("copy", "each of its 16 validation images is a training image, too"),
        ("blur", "gray levels"),
        ("shape", r"not uint8 \[16, 1, 16, 16\]"),
        ("random", "draw nothing at random"),
    ],
)
def test_the_check_finds_faults(fault: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "entries", dict(registry.entries))
    register("faulty(fault)")(lambda fault="": Faulty(fault))
    assert check("faulty")[0].startswith("shapes: images [1, 16, 16]")
    with pytest.raises(UserError, match=sentence):
        check(f"faulty:fault={fault}")


def test_values_and_a_decoder_belong_together() -> None:
    pixels = np.arange(128, dtype=np.uint8).reshape(2, 1, 8, 8)
    plain, latent = Split(pixels, ("a", "b")), Split(pixels, ("a", "b"), values=pixels.astype(np.float32))
    for split, decoder in ((plain, lambda values: values), (latent, None)):
        with pytest.raises(UserError, match="belong together"):
            build("x", (split, split), decoder)
    made = build("x", (latent, latent), lambda values: values)
    assert made.digest != build("x", (plain, plain)).digest
    assert torch.equal(made.decode(made.train.batch(np.array([1, 0]))), torch.from_numpy(pixels[::-1].copy()))


def test_what_a_file_keeps_of_a_dataset_is_not_computed_again() -> None:
    class Never(np.ndarray):
        def __getitem__(self, rows: object) -> np.ndarray:
            raise AssertionError("read")

    never = np.zeros((2, 1, 8, 8), np.float32).view(Never)
    split = Split(np.zeros((2, 1, 8, 8), np.uint8).view(Never), ("a", "b"), values=never)
    made = build("x", (split, split), lambda values: values, scale=Scale(3.0, 2.0), digest="abc")
    assert made.digest == "abc"
    assert made.decode(torch.tensor([[[[4.0]]]])).item() == 4 * 2 + 3


def test_picked_rows_are_those_of_the_array() -> None:
    array = np.arange(24).reshape(6, 4)
    picked = Picked(array, np.array([5, 0, 3]))
    assert (picked.shape, len(picked)) == ((3, 4), 3)
    assert np.array_equal(picked[np.array([2, 2, 0])], array[[3, 3, 5]])
