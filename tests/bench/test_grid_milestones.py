"""Weights of milestones in a whole run: kept, measured later, ranked where they are chosen, made again if they are lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis import archive, rank
from analysis.runs.run import read
from bench import grid
from flowbench._core import atomic

from .runs import SMALL, cell_of, trainings, written

KEPT = [*SMALL, "--milestones", "0.33", "1"]
RF = "rf/lognorm(0.00,1.00)"
pytestmark = pytest.mark.usefixtures("here")


def test_they_are_measured_without_training_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert grid.main([*KEPT, "--weights", "ema", "--out", str(out)]) == 0
    before = written(out, "*.safetensors")
    assert len(before) == 2 * 2 * 3
    more = [*KEPT, "--weights", "ema", "ema@0.33", "ema@1", "--out", str(out)]
    assert grid.main(more) == 0
    assert written(out, "*.safetensors") == before
    frame = read(out).frame.set_index(["weights", "formulation", "steps"]).sort_index()
    assert list(frame.loc["ema@0.33", "best_step"].unique()) == [4]
    for formulation in (RF, "eps/linear"):
        ends, last = (
            atomic.read_tensors(cell_of(out, formulation) / f"{n}.safetensors")[0] for n in ("ema", "ema@1")
        )
        if frame.loc[("ema", formulation, 2), "best_step"] == 12:
            assert all(ends[name].equal(last[name]) for name in ends)
            assert frame.loc[("ema", formulation, 2), "fid"] == frame.loc[("ema@1", formulation, 2), "fid"]
    assert (frame.loc["ema", "best_step"] == 12).any()

    assert archive.main([str(out), str(tmp_path / "kept"), "--no-figures"]) == 0
    capsys.readouterr()
    tables = []
    for folder in (out, tmp_path / "kept"):
        assert rank.main([str(folder), "--where", "weights=ema@0.33"]) == 0
        tables.append(capsys.readouterr().out)
    assert tables[0] == tables[1]
    assert "ema@0.33 weights" in tables[0]

    cell = cell_of(out, RF)
    (cell / "ema@0.33.safetensors").write_bytes(b"damaged")
    for file in cell.glob("images-*/ema@0.33-*"):
        file.unlink()
    (result,) = (file for file in cell.glob("*/result.json") if b"ema@0.33" in file.read_bytes())
    result.unlink()
    assert grid.main(more) == 0
    assert "is trained again" in capsys.readouterr().err
    assert (trainings(cell), trainings(cell_of(out, "eps/linear"))) == (2, 1)
    assert sorted(file.name for file in cell.glob("*@*.safetensors")) == sorted(
        f"{kind}@{at}.safetensors" for kind in ("ema", "raw") for at in ("0.33", "1")
    )


def test_those_of_an_earlier_stage_are_measured_without_training_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [*KEPT, "--formulations", "rf", "--weights", "ema", "ema@0.33", "--out", str(tmp_path)]
    staged = [*options, "--stage", "steps=3,warmup=1"]
    assert grid.main([*staged, "--dry-run"]) == 0
    assert "those of milestones 0.33, 1 are measured by the command without later" in capsys.readouterr().out
    assert grid.main(staged) == 0
    frame = read(tmp_path).frame.groupby("weights")[["best_step", "train_flops"]].first()
    assert frame.loc["ema@0.33", "best_step"] == 1
    assert frame["train_flops"]["ema@0.33"] == pytest.approx(frame["train_flops"]["ema"] * (12 + 1) / 15)
    before = written(tmp_path, "*.safetensors")
    assert len(before) == 2 * 2 * 3
    assert grid.main(options) == 0
    assert written(tmp_path, "*.safetensors") == before
    assert set(read(tmp_path).frame["best_step"]) >= {4}


def test_a_cell_that_diverges_keeps_none(tmp_path: Path) -> None:
    """Although it lived at the first step, with which its training has begun to diverge."""
    options = [*SMALL, "--lr", "1e30", "--milestones", "0.01", "--weights", "ema", "ema@0.01"]
    assert grid.main([*options, "--out", str(tmp_path)]) == 1
    cells = list(tmp_path.glob("cells/*/status.json"))
    assert len(cells) == 2
    assert not written(tmp_path, "*.safetensors")
    assert set(read(tmp_path).frame["status"]) == {"diverged"}


def test_weights_that_no_training_keeps_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert grid.main([*SMALL, "--weights", "ema", "ema@0.5", "--out", str(tmp_path / "run")]) == 2
    assert "add --milestones 0.5" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_estimate_counts_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = []
    for weights in (["ema"], ["ema", "ema@0.33", "ema@1"]):
        assert grid.main([*KEPT, "--weights", *weights, "--out", str(tmp_path / "run"), "--dry-run"]) == 0
        (line,) = (each for each in capsys.readouterr().out.splitlines() if each.startswith("cost:"))
        kept.append(float(line.partition(" MB kept")[0].rpartition(" ")[2]))
    assert kept[1] > kept[0], "images of more weights"
