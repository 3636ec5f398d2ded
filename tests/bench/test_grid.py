"""The command, end to end: trains, measures, ranks, resumes, and refuses mistakes in one sentence."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from bench import grid
from bench.run import TABLES
from bench.stages import STAGES

SMALL = [
    "--preset", "smoke", "--formulations", "rf/lognorm(0,1)", "eps/linear", "--train-images", "96",
    "--validation-images", "48", "--steps", "12", "--batch", "8", "--validations", "3", "--validation-batch", "16",
    "--settings", "4:1", "2:5", "--samples", "12", "--lr", "0.01", "--ema", "0.5", "--device", "cpu", "--pack", "2",
]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "small"
    assert grid.main([*SMALL, "--out", str(out)]) == 0
    return out


def test_what_a_run_leaves(finished: Path) -> None:
    names = {p.name for p in finished.iterdir() if p.name != ".lock"}
    assert names == {
        "grid.json",
        "cells",
        "results.parquet",
        "ranking.csv",
        "samples.png",
        "yardsticks.json",
        "yardsticks",
        "timings.json",
    }
    cells = sorted((finished / "cells").iterdir())
    assert len(cells) == 2
    for cell in cells:
        config = json.loads((cell / "config.json").read_text())
        assert config["cell"]["dataset"] == "shapes"
        lines = [json.loads(line) for line in (cell / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == [4, 8, 12]
        status = json.loads((cell / "status.json").read_text())
        assert status["state"] == "trained"
        assert (status["training"]["pack"], status["training"]["compiled"]) == (2, False)
        best = min(lines, key=lambda line: sum(line["val_native"]))
        assert status["best_step"] == best["step"]
        assert status["val_loss"] == pytest.approx(best["val_loss"])
        assert (cell / "ema.safetensors").exists()
        assert not list(cell.glob("**/.*"))


def timings(out: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads((out / "timings.json").read_text())
    assert set(found) == {*STAGES, "total"}
    rounding = 0.0005 * len(found)
    assert min(found.values()) >= 0
    assert sum(found[stage] for stage in STAGES) <= found["total"] + rounding
    return found


def test_where_the_time_went_is_written_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stages of half a second and more are said; here every clock reading is one second after the last."""
    seconds = itertools.count(grid.STARTED)
    monkeypatch.setattr("bench.stages.time.perf_counter", lambda: float(next(seconds)))
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
    spent, (summary, files) = timings(out), printed.out.splitlines()[-2:]
    assert all(spent[stage] > 0 for stage in STAGES)
    listed = ", ".join(f"{stage} {spent[stage]:.0f}" for stage in STAGES)
    assert summary == f"2 cells, {spent['total']:.0f} s ({listed}). In {out}:"
    assert set(files.split()) == {*TABLES, "timings.json", "cells/"}


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
        (folder,) = (p for p in cell.iterdir() if p.is_dir())
        result = json.loads((folder / "result.json").read_text())
        per_sample, images = (
            load_file(folder / "per_sample.safetensors"),
            load_file(folder / "images.safetensors"),
        )
        for name, values in result["settings"].items():
            assert per_sample[f"{name}/clip"].mean().item() == pytest.approx(values["clip"], abs=1e-3)
            assert images[name].shape == (12, 3, 16, 16)
            assert images[name].dtype == torch.uint8


def test_ema_and_raw_weights_give_different_images(finished: Path) -> None:
    cell = next((finished / "cells").iterdir())
    (folder,) = (p for p in cell.iterdir() if p.is_dir())
    images = load_file(folder / "images.safetensors")
    assert not torch.equal(images["ema-4-1"], images["raw-4-1"])


def test_yardsticks_order(finished: Path) -> None:
    yardsticks = json.loads((finished / "yardsticks.json").read_text())["shapes"]
    assert yardsticks["clip_real"] > yardsticks["clip_shuffled"] + 30
    assert yardsticks["composition_real"] == 1.0
    assert yardsticks["fid_real"] > 0


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes())
        for p in sorted((folder / "cells").rglob("*"))
        if p.is_file()
    }


def test_the_same_command_does_nothing_more(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, spent = snapshot(finished), timings(finished)
    assert grid.main([*SMALL, "--out", str(finished)]) == 0
    assert snapshot(finished) == before
    assert grid.main([*SMALL, "--pack", "1", "--compile", "off", "--out", str(finished)]) == 0
    assert snapshot(finished) == before, "neither is part of what a cell is"
    assert timings(finished) == spent, "those of the run that did it"
    printed = capsys.readouterr()
    assert "nothing to run" in printed.err
    assert "rf/lognorm(0.00,1.00)" in printed.out


def test_only_what_is_missing_is_run_and_a_pack_does_not_change_results(
    finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "grown"
    command = [*SMALL, "--out", str(out)]
    at = command.index("--formulations")
    assert grid.main([*command[: at + 2], *command[at + 3 :]]) == 0
    before = snapshot(out)
    assert grid.main(command) == 0
    after = snapshot(out)
    assert before.items() <= after.items()
    assert len(list((out / "cells").iterdir())) == 2
    keys = ["formulation", "weights", "steps", "cfg"]
    one, other = (pd.read_parquet(p / "results.parquet").sort_values(keys) for p in (finished, out))
    np.testing.assert_allclose(one["val_loss"].astype(float), other["val_loss"].astype(float), rtol=1e-4)
    np.testing.assert_allclose(one["clip"], other["clip"], atol=0.05)


def test_another_evaluation_measures_again_without_training(finished: Path) -> None:
    weights = {p: p.stat().st_mtime_ns for p in finished.glob("cells/*/ema.safetensors")}
    assert grid.main([*SMALL, "--samples", "16", "--out", str(finished)]) == 0
    assert {p: p.stat().st_mtime_ns for p in finished.glob("cells/*/ema.safetensors")} == weights
    assert pd.read_parquet(finished / "results.parquet")["fid_name"].str.contains("n=16").all()
    assert json.loads((finished / "yardsticks.json").read_text())["shapes"]["n"] == 16
    assert grid.main([*SMALL, "--out", str(finished)]) == 0
    assert json.loads((finished / "yardsticks.json").read_text())["shapes"]["n"] == 12


def test_a_failing_cell_is_reported_and_the_others_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench import worker

    real = worker.train_pack

    def broken(pack: Any, *rest: Any) -> None:
        if pack[0].cell.formulation == "eps/linear":
            raise RuntimeError("out of memory")
        real(pack, *rest)

    monkeypatch.setattr(worker, "train_pack", broken)
    assert grid.main([*SMALL, "--pack", "1", "--out", str(tmp_path / "run")]) == 1
    printed = capsys.readouterr()
    assert "failed: eps/linear on shapes, seed 0: RuntimeError: out of memory" in printed.err
    assert "rf/lognorm(0.00,1.00)" in printed.out
    monkeypatch.undo()
    assert grid.main([*SMALL, "--pack", "1", "--out", str(tmp_path / "run")]) == 0


PLUGIN = """
from formulations import Formulation, register

@register("my/late(s)")
def late(s: float = 2.0) -> Formulation:
    return Formulation(path=lambda t: (1 - t, t), target=lambda at: (at.da, at.db), weight=lambda at: at.t ** s)
"""


def test_a_plugin_joins_and_an_edited_plugin_is_refused(tmp_path: Path) -> None:
    file, out = tmp_path / "mine.py", str(tmp_path / "run")
    file.write_text(PLUGIN)
    command = [*SMALL, "--plugin", str(file), "--formulations", "rf", "my/late(1.5)", "--out", out]
    assert subprocess_main(command).returncode == 0
    file.write_text(PLUGIN.replace("at.t ** s", "at.t ** (s + 1)"))
    again = subprocess_main(command)
    assert again.returncode == 2
    assert "'my/late(1.50)' has changed since" in again.stderr


def test_only_the_culprit_of_a_pack_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench import worker

    real = worker.train_pack

    def broken(pack: Any, *rest: Any) -> None:
        if any(p.cell.formulation == "eps/linear" for p in pack):
            raise RuntimeError("a bad day")
        real(pack, *rest)

    monkeypatch.setattr(worker, "train_pack", broken)
    assert grid.main([*SMALL, "--out", str(tmp_path / "run")]) == 1
    printed = capsys.readouterr()
    assert printed.err.count("failed: ") == 1
    assert "failed: eps/linear" in printed.err
    assert "rf/lognorm(0.00,1.00)" in printed.out


def test_all_diverged_is_no_ranking_and_leaves_no_old_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    assert grid.main([*SMALL, "--out", str(out)]) == 0
    assert grid.main([*SMALL, "--lr", "1e30", "--out", str(out)]) == 1
    assert "no ranking: 2 cells diverged" in capsys.readouterr().err
    assert not (out / "samples.png").exists()
    assert not (out / "results.parquet").exists()
    assert grid.main([*SMALL, "--out", str(out)]) == 0
    assert "2 cells of other configurations" in capsys.readouterr().out
    assert (out / "samples.png").exists()


def test_what_was_deleted_is_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    command = [*SMALL, "--out", str(out)]
    assert grid.main(command) == 0
    before = pd.read_parquet(out / "results.parquet")
    cell = next((out / "cells").iterdir())
    for damage in ("yardsticks", "images", "ema"):
        if damage == "yardsticks":
            (next((out / "yardsticks").iterdir())).write_text('{"shap')
        elif damage == "images":
            next(cell.glob("*/images.safetensors")).unlink()
        else:
            (cell / "ema.safetensors").unlink()
            next(cell.glob("*/result.json")).unlink()
        assert grid.main(command) == 0, damage
        again = pd.read_parquet(out / "results.parquet")
        np.testing.assert_allclose(again["fid"], before["fid"], rtol=1e-3)
        assert "real images" in capsys.readouterr().out
    for broken in ("[]", "{}", '{"settings"'):
        next(cell.glob("*/result.json")).write_text(broken)
        assert grid.main(command) == 2
        assert "result.json" in capsys.readouterr().err


def test_two_runs_on_one_folder(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from bench import store

    with store.lock(finished):
        assert grid.main([*SMALL, "--samples", "9", "--out", str(finished)]) == 2
    assert "is in use by another run" in capsys.readouterr().err


def test_failed_measuring_does_not_train_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench import worker

    def broken(*given: Any) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(worker, "measure", broken)
        assert grid.main([*SMALL, "--out", str(tmp_path / "run")]) == 1
    assert capsys.readouterr().err.count("OSError: disk full") == 2
    weights = {p: p.stat().st_mtime_ns for p in tmp_path.glob("run/cells/*/ema.safetensors")}
    assert len(weights) == 2
    assert grid.main([*SMALL, "--out", str(tmp_path / "run")]) == 0
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("run/cells/*/ema.safetensors")} == weights
    assert not list(tmp_path.glob("run/cells/*/error.txt"))


BROKEN = [
    ("import nothing_of_this_name", "nothing_of_this_name"),
    (PLUGIN.replace("at.t ** s", "1 / 0"), "ZeroDivisionError"),
    (PLUGIN.replace("at.t ** s", "at.t.sum()"), "shape"),
    (PLUGIN.replace("at.t ** s", "-at.t"), "w"),
    (PLUGIN.replace("(1 - t, t)", "(1 - t, 0 * t)"), "my/late"),
    (PLUGIN.replace("my/late(s)", "rf"), "rf"),
    ("x = (", "line 1"),
]


@pytest.mark.parametrize(("source", "words"), BROKEN, ids=[words for _, words in BROKEN])
def test_a_broken_plugin_is_one_sentence_and_leaves_nothing(
    source: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(source)
    command = [
        *SMALL,
        "--plugin",
        str(tmp_path / "mine.py"),
        "--formulations",
        "my/late",
        "--out",
        str(tmp_path / "run"),
    ]
    assert grid.main(command) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert words in error
    assert not (tmp_path / "run").exists()


def subprocess_main(argv: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench.grid", *argv],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        timeout=300,
        check=False,
    )
