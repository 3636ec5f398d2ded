"""The command, end to end: trains, measures, ranks, and does nothing twice."""

from __future__ import annotations

import itertools
import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from bench import grid
from bench.driver.run_summary import TABLES
from bench.machine.stage_timer import STAGES
from bench.runfolder import store
from bench.training.loss_profile import profile
from formulations import get

from .runs import SMALL, files, metrics, written
from .stand_ins import install


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "small"
    assert grid.main([*SMALL, "--out", str(out)]) == 0
    return out


def test_what_a_run_leaves(finished: Path) -> None:
    assert {p.name for p in finished.iterdir() if p.name != ".lock"} == {
        "grid.json",
        "config.toml",
        "cells",
        "code",
        "submissions",
        "results.parquet",
        "ranking.csv",
        "samples.png",
        "real-scores.json",
        "real-scores",
        "timings.json",
    }
    cells = sorted((finished / "cells").iterdir())
    assert len(cells) == 2
    for cell in cells:
        config = json.loads((cell / "config.json").read_text())
        assert config["cell"]["dataset"] == "shapes"
        assert config["profile"] == profile(get(config["cell"]["formulation"]))
        lines = metrics(cell)
        assert [line["step"] for line in lines] == [4, 8, 12]
        status = json.loads((cell / "status.json").read_text())
        assert status["state"] == "trained"
        assert (status["training"]["pack"], status["training"]["compiled"]) == (2, False)
        best = min(lines, key=lambda line: sum(line["val_native"]))
        assert status["best_step"] == best["step"]
        assert status["val_loss"] == pytest.approx(best["val_loss"])
        assert status["untrained_loss"] > 1, "noise alone is worth 1"
        assert {p.name for p in cell.iterdir() if p.is_file()} == {
            "config.json",
            "status.json",
            "metrics.jsonl",
            "log.txt",
            "ema.safetensors",
            "raw.safetensors",
        }
        assert not list(cell.glob("**/.*"))


def timings(out: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads((out / "timings.json").read_text())
    assert set(found) == {*STAGES, "total"}
    rounding = 0.0005 * len(found)
    assert min(found.values()) >= 0
    assert sum(found[stage] for stage in STAGES) <= found["total"] + rounding
    return found


@pytest.mark.usefixtures("here")
def test_where_the_time_went_is_written_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stages of half a second and more are said; here every clock reading is one second after the last."""
    seconds = itertools.count(grid.STARTED)
    monkeypatch.setattr("bench.machine.stage_timer.time.perf_counter", lambda: float(next(seconds)))
    out = tmp_path / "run"
    assert grid.main([*SMALL, "--pack", "auto", "--compile", "auto", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    said = [line.partition("] ")[2] for line in printed.err.splitlines()]
    (pack,) = (line for line in said if line.startswith("--pack auto: "))
    members = int(pack.split()[2])
    assert pack.startswith(f"--pack auto: {members} of 2 in one graph")
    (compiled,) = (line for line in said if line.startswith("--compile auto: "))
    assert compiled.startswith("--compile auto: off, ")
    for cell in (out / "cells").iterdir():
        facts = json.loads((cell / "status.json").read_text())["training"]
        assert (facts["pack"], facts["compiled"]) == (members, False)
    spent, (summary, listed_files, page, _, answer) = timings(out), printed.out.splitlines()[-5:]
    assert all(spent[stage] > 0 for stage in STAGES)
    listed = ", ".join(f"{stage} {spent[stage]:.0f}" for stage in STAGES)
    assert summary == f"2 cells, {spent['total']:.0f} s ({listed}). In {out}:"
    assert set(listed_files.split()) == {*TABLES, "timings.json", "cells/"}
    assert page.startswith("one page with everything: python -m analysis.report ")
    assert answer.startswith("One seed cannot decide: ")
    assert f"--out {out} --seeds 3`" in answer


def test_results_are_tidy(finished: Path) -> None:
    frame = pd.read_parquet(finished / "results.parquet")
    assert len(frame) == 2 * 2 * 2
    assert set(frame["weights"]) == {"ema", "raw"}
    assert frame["clip"].between(-100, 100).all()
    assert (frame["fid"] > 0).all()
    assert frame["composition"].between(0, 1).all()
    assert frame["fid_name"].str.contains("n=12").all()
    assert frame["clip_name"].nunique() == 1


def test_per_sample_values_average_to_the_result(finished: Path) -> None:
    for cell in (finished / "cells").iterdir():
        (file,) = cell.glob("*/result.json")
        result = json.loads(file.read_text())
        per_sample = load_file(file.parent / "per_sample.safetensors")
        for name, values in result["settings"].items():
            for metric in ("clip", "path_length"):
                mean = per_sample[f"{name}/{metric}"].mean().item()
                assert mean == pytest.approx(values[metric], abs=1e-3)


def test_every_setting_has_its_images(finished: Path) -> None:
    for cell in (finished / "cells").iterdir():
        (folder,) = cell.glob("images-*")
        files = {file.stem: load_file(file) for file in folder.iterdir()}
        images = {name: each["images"] for name, each in files.items()}
        assert set(images) == {"ema-4-1", "ema-2-5", "raw-4-1", "raw-2-5"}
        assert all(each.shape == (12, 3, 16, 16) for each in images.values())
        assert all(each.dtype == torch.uint8 for each in images.values())
        assert not torch.equal(images["ema-4-1"], images["raw-4-1"])
        lengths = [each["path_length"] for each in files.values()]
        assert all(each.shape == (12,) and each.dtype == torch.float32 for each in lengths)
        assert all((each > 1).all() for each in lengths), (
            "noise of 768 numbers and an image are farther apart"
        )


def test_real_scores_order(finished: Path) -> None:
    real_scores = json.loads((finished / "real-scores.json").read_text())["shapes"]
    assert real_scores["clip_real"] > real_scores["clip_shuffled"] + 30
    assert real_scores["composition_real"] == 1.0
    assert real_scores["fid_real"] > 0


def test_the_same_command_does_nothing_more(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, spent = files(finished), timings(finished)
    assert grid.main([*SMALL, "--out", str(finished)]) == 0
    assert files(finished) == before
    assert grid.main([*SMALL, "--pack", "1", "--compile", "off", "--out", str(finished)]) == 0
    assert files(finished) == before, "neither is part of what a cell is"
    assert timings(finished) == spent, "those of the run that did it"
    assert len(list((finished / "submissions").iterdir())) == 1
    printed = capsys.readouterr()
    assert "nothing to run: 2 done" in printed.err
    assert "rf/lognorm(0.00,1.00)" in printed.out


def test_where_all_is_done_nothing_is_submitted(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = install(tmp_path, monkeypatch)
    command = [*SMALL, "--executor", "slurm", "--slurm.partition=gpu", "--out", str(finished)]
    for more in ((), ("--wait",)):
        assert grid.main([*command, *more]) == 0
        printed = capsys.readouterr()
        assert "nothing to run: 2 done" in printed.err
        assert "rf/lognorm(0.00,1.00)" in printed.out
    assert grid.main([*command, "--dry-run"]) == 0
    assert "cost: nothing is left to run" in capsys.readouterr().out
    assert cluster.jobs() == []
    assert len(list((finished / "submissions").iterdir())) == 1


@pytest.mark.usefixtures("here")
def test_only_missing_cells_are_run_and_a_pack_does_not_change_results(
    finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "grown"
    command = [*SMALL, "--out", str(out)]
    at = command.index("--formulations")
    assert grid.main([*command[: at + 2], *command[at + 3 :]]) == 0
    before = files(out)
    assert grid.main(command) == 0
    after = files(out)
    assert before.items() <= after.items()
    assert len(list((out / "cells").iterdir())) == 2
    keys = ["formulation", "weights", "steps", "cfg"]
    one, other = (pd.read_parquet(p / "results.parquet").sort_values(keys) for p in (finished, out))
    np.testing.assert_allclose(one["val_loss"].astype(float), other["val_loss"].astype(float), rtol=1e-4)
    np.testing.assert_allclose(one["clip"], other["clip"], atol=0.05)


@pytest.mark.usefixtures("here")
def test_another_evaluation_measures_again_without_training(finished: Path) -> None:
    weights = written(finished, "ema.safetensors")
    assert grid.main([*SMALL, "--samples", "16", "--out", str(finished)]) == 0
    assert written(finished, "ema.safetensors") == weights
    assert pd.read_parquet(finished / "results.parquet")["fid_name"].str.contains("n=16").all()
    assert json.loads((finished / "real-scores.json").read_text())["shapes"]["n"] == 16
    assert grid.main([*SMALL, "--out", str(finished)]) == 0
    assert json.loads((finished / "real-scores.json").read_text())["shapes"]["n"] == 12


@pytest.mark.usefixtures("here")
def test_another_setting_measures_images_that_are_there(finished: Path) -> None:
    before = written(finished, "images-*/*")
    assert grid.main([*SMALL, "--settings", "4:1", "2:5", "3:1", "--out", str(finished)]) == 0
    after = written(finished, "images-*/*")
    assert before.items() <= after.items()
    assert {p.stem for p in after.keys() - before.keys()} == {"ema-3-1", "raw-3-1"}


def test_a_folder_where_another_command_plans_is_in_use(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.lock(finished):
        monkeypatch.setattr(store, "lock", partial(store.lock, patience=0.1))
        assert grid.main([*SMALL, "--samples", "9", "--out", str(finished)]) == 2
    assert "is in use by another command" in capsys.readouterr().err
