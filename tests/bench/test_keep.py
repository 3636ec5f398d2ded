"""A kept model draws what its cell draws, is small, and says where it comes from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import draw, drawing, grid, keep
from flowbench._core import atomic
from flowbench._core.errors import UserError

from .conftest import run_here
from .runs import SMALL

CAPTION = "a photo of the digit seven"
SIZES = (
    "--steps 4 --warmup 1 --validations 1 --resolution 8 --compile off --datasets digits"
    " --settings 2:2.5 5:1 --samples 8"
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("keep") / "run"
    with pytest.MonkeyPatch.context() as patch:
        run_here(patch)
        assert grid.main([*SMALL, *SIZES.split(), "--out", str(out)]) == 0
    return out


def drawn(out: Path, *argv: str) -> np.ndarray:
    assert draw.main([*argv, "--out", str(out), "--n", "2"]) == 0
    return np.asarray(Image.open(out))


def kept(run: Path, out: Path, *options: str) -> Path:
    assert keep.main([str(run), "eps/linear", str(out), *options]) == 0
    return out


def chosen(run: Path) -> drawing.Trained:
    return drawing.choose(drawing.trained(run), "eps/linear", None, None)


def test_it_draws_what_the_cell_draws(trained: Path, tmp_path: Path) -> None:
    model = kept(trained, tmp_path / "model")
    assert {file.name for file in model.iterdir()} == keep.FILES - {"plugin.py"}
    again = drawn(tmp_path / "a.png", str(model), CAPTION)
    assert np.array_equal(again, drawn(tmp_path / "b.png", str(trained), "eps/linear", CAPTION))
    assert np.array_equal(again, drawn(tmp_path / "c.png", str(model), "--steps", "25", CAPTION)), (
        "options between"
    )
    assert kept(trained, model).exists(), "again"


def test_the_card(trained: Path, tmp_path: Path) -> None:
    model = kept(trained, tmp_path / "model")
    card = (model / "README.md").read_text()
    rows, manifest = keep.measured(trained, chosen(trained).cell.id)
    for row in rows.to_dict("records"):
        assert f"{row['fid']:.4g}" in card
        assert f"`{row['fid_name']}`" in card
    assert "| 2:2.5 |" in card
    assert "CC BY 4.0" in card
    assert f"{manifest.recipes[0].parameters:,} parameters" in card
    assert str(tmp_path) not in "".join(
        file.read_text() for file in (model / "README.md", model / "config.json")
    )
    assert str(trained.parent) not in card


def test_half_precision_where_single_is_too_large(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = kept(trained, tmp_path / "whole") / "ema.safetensors"
    monkeypatch.setattr(keep, "MOST", whole.stat().st_size * 2 // 3)
    half = kept(trained, tmp_path / "half") / "ema.safetensors"
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    assert "in float16 (no pixel" in (half.parent / "README.md").read_text()
    apart = drawn(tmp_path / "a.png", str(half.parent), CAPTION).astype(int) - drawn(
        tmp_path / "b.png", str(whole.parent), CAPTION
    )
    assert 0 <= abs(apart).max() <= keep.SAME
    before = {file.name: file.read_bytes() for file in half.parent.iterdir()}
    monkeypatch.setattr(keep, "SAME", -1)
    for out in (tmp_path / "other", half.parent):
        with pytest.raises(UserError, match="in half precision pixels change"):
            keep.keep(trained, chosen(trained), out)
    monkeypatch.setattr(keep, "MOST", 1000)
    with pytest.raises(UserError, match="MB in half precision"):
        keep.keep(trained, chosen(trained), tmp_path / "other")
    assert {file.name: file.read_bytes() for file in half.parent.iterdir()} == before
    assert {file.name for file in tmp_path.iterdir()} == {"whole", "half", "a.png", "b.png"}


def test_nothing_of_an_earlier_model_stays(trained: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "any.py"
    plugin.write_text("")
    model = kept(trained, tmp_path / "model", "--plugin", str(plugin))
    assert {file.name for file in model.iterdir()} == keep.FILES
    assert "--plugin" in (model / "README.md").read_text()
    assert {file.name for file in kept(trained, model).iterdir()} == keep.FILES - {"plugin.py"}
    assert "--plugin" not in (model / "README.md").read_text()


def test_what_cannot_be_kept(trained: Path, tmp_path: Path) -> None:
    cell = chosen(trained)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(UserError, match="holds something else"):
        keep.keep(trained, cell, tmp_path / "full")
    with pytest.raises(UserError, match="needs these images"):
        keep.keep(trained, replace(cell, cell=replace(cell.cell, dataset="images:mine")), tmp_path / "x")
    with pytest.raises(UserError, match="not measured yet"):
        keep.measured(trained, "0" * 12)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["{model}", "eps/linear", CAPTION], "is one model: leave 'eps/linear' out"),
        (["{model}", CAPTION, "--weights", "raw"], "keeps other weights only"),
        (["{model}", CAPTION, "--dataset", "shapes"], "--dataset 'shapes'"),
        (["{model}", CAPTION, "--sed", "1"], "did you mean '--seed' or"),
        (["{run}", CAPTION], "name a formulation of"),
    ],
)
def test_mistakes_are_one_sentence(
    trained: Path, tmp_path: Path, argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = kept(trained, tmp_path / "model")
    capsys.readouterr()
    assert draw.main([word.format(model=model, run=trained) for word in argv]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_damaged_model_is_named(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = kept(trained, tmp_path / "model")
    atomic.write_json(
        model / "config.json", json.loads((model / "config.json").read_text()) | {"data": "other"}
    )
    assert draw.main([str(model), CAPTION]) == 2
    assert "the dataset has changed" in capsys.readouterr().err
