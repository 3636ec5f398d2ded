"""Datasets that cannot be made ready, or that have changed: reported once, before training; the others are trained."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench import grid
from bench.worker import setup
from flowbench._core import atomic

from .runs import files, trainings, written

TINY = [
    "--preset", "smoke", "--formulations", "rf", "--train-images", "32", "--validation-images", "16", "--steps", "4",
    "--batch", "8", "--validations", "2", "--validation-batch", "16", "--settings", "2:1", "--samples", "8",
    "--weights", "ema", "--device", "cpu", "--compile", "off", "--pack", "2",
]  # fmt: skip
Changes = Callable[[str], None]


def breaks(monkeypatch: pytest.MonkeyPatch, error: Exception, *datasets: str) -> None:
    """Let datasets raise while they are made ready, somewhere deep inside."""
    real = setup.make

    def make(dataset: str, *rest: Any) -> setup.Setup:
        if dataset in datasets:
            raise error
        return real(dataset, *rest)

    monkeypatch.setattr(setup, "make", make)


@pytest.mark.usefixtures("here")
def test_a_dataset_that_cannot_be_used_fails_its_cells_and_no_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    command = [*TINY, "--datasets", "shapes", "digits", "--seeds", "2", "--out", str(out)]
    with monkeypatch.context() as patch:
        breaks(patch, ZeroDivisionError("float division by zero"), "digits")
        assert grid.main(command) == 1
    said = capsys.readouterr().err
    line = "failed: rf on digits, seed 0 and 1 other cell: ZeroDivisionError: float division by zero"
    assert said.splitlines().count(line) == 1
    assert "Traceback" not in said
    (log,) = out.glob("submissions/*/share-*.log")
    assert log.read_text().count("digits: making images and captions ready") == 1, "no restarts"
    states = {file: atomic.read_object(file) for file in out.glob("cells/*/status.json")}
    errors = [status["error"] for status in states.values() if status["state"] == "failed"]
    assert len(errors) == 2
    assert errors[0] == errors[1]
    assert errors[0].keys() == {"kind", "message", "cause"}
    assert errors[0]["kind"] == "ZeroDivisionError"
    assert [status["state"] for status in states.values()].count("trained") == 2, "the other dataset's"
    assert all("ZeroDivisionError" in file.read_text() for file in out.glob("cells/*/error.txt"))

    before = files(out)
    assert grid.main(command) == 1
    assert files(out) == before, "what failed once would fail again"
    capsys.readouterr()
    assert grid.main([*command, "--retry", "failed"]) == 0
    assert set(pd.read_parquet(out / "results.parquet")["status"]) == {"done"}
    assert not written(out, "error.txt")


@pytest.mark.usefixtures("here")
def test_a_measured_cell_stays_what_it_is_where_its_dataset_cannot_be_used_any_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    assert grid.main([*TINY, "--out", str(out)]) == 0
    weights = written(out, "ema.safetensors")
    with monkeypatch.context() as patch:
        breaks(patch, MemoryError(), "shapes")
        assert grid.main([*TINY, "--samples", "6", "--out", str(out)]) == 1
    assert "failed: rf on shapes, seed 0: MemoryError\n" in capsys.readouterr().err
    assert grid.main([*TINY, "--out", str(out)]) == 0, "by the measurements that are there"
    assert grid.main([*TINY, "--samples", "6", "--retry", "failed", "--out", str(out)]) == 0
    assert written(out, "ema.safetensors") == weights


@pytest.mark.usefixtures("here")
def test_an_error_of_no_cell_is_reported_once_with_its_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: Any) -> None:
        raise RuntimeError("a library is of another version")

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("bench.worker.loop.fast_products", broken)
        assert grid.main([*TINY, "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert said.count("RuntimeError: a library is of another version") == 1
    (trace,) = out.glob("submissions/*/error-0000.txt")
    assert f"error: 1 cell not run: RuntimeError: a library is of another version (see {trace})\n" in said
    assert "Traceback" not in said
    assert trace.read_text().count("Traceback") == 1
    assert grid.main([*TINY, "--status", "--out", str(out)]) == 1
    assert "1 cell broken: RuntimeError: a library is of another version" in capsys.readouterr().out
    assert grid.main([*TINY, "--out", str(out)]) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the address space is not limited")
def test_torch_that_cannot_be_loaded_is_one_sentence(tmp_path: Path) -> None:
    """``ulimit -v``: room enough for the command, and not for torch."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "bench.grid", *TINY, "--out", str(out)]
    limited = ["prlimit", f"--as={1 << 30}", *command]
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert error.startswith("error: 1 cell not run: the worker cannot be loaded: ")
    assert "libtorch" in error
    assert "Traceback" not in done.stderr
    assert "1 cell not finished: the same command runs it" in done.stderr
    (state,) = (atomic.read_object(file) for file in out.glob("submissions/*/share-*.json"))
    assert state["state"] == "broken"
    assert state["error"].keys() == {"kind", "message", "cause"}
    assert state["error"]["kind"] in ("ImportError", "OSError")
    (trace,) = out.glob("submissions/*/error-*.txt")
    assert trace.read_text().count("Traceback (most recent call last)") == 1, "one start"
    (log,) = out.glob("submissions/*/share-*.log")
    assert log.read_text() == "", "no restarts"


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> Changes:
    """Lets the images be others, or the first again (``""``)."""
    real, extra = setup.make, [""]

    def make(*given: Any) -> setup.Setup:
        made = real(*given)
        return replace(made, data=replace(made.data, digest=made.data.digest + extra[0]))

    monkeypatch.setattr(setup, "make", make)
    return lambda text: extra.__setitem__(0, text)


def digests(out: Path) -> list[str]:
    return [atomic.read_object(file)["data"] for file in sorted(out.glob("cells/*/config.json"))]


@pytest.mark.usefixtures("here")
def test_images_that_changed_are_reported_before_anything_is_trained(
    tmp_path: Path, changes: Changes, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    command = [*TINY, "--out", str(out)]
    assert grid.main(command) == 0
    before = files(out)
    changes("-more")
    capsys.readouterr()
    for _ in range(2):
        assert grid.main([*command, "--seeds", "2"]) == 2
        said = capsys.readouterr().err
        (sentence,) = [line for line in said.splitlines() if line.startswith("error: ")]
        assert "the images or captions of shapes changed after 1 cell in" in sentence
        assert "name another --out, or add --retry all" in sentence
        after = files(out)
        assert before.items() <= after.items()
        assert [Path(name).name for name in after.keys() - before.keys()] == ["changed.json"]

    changes("")
    assert grid.main([*command, "--seeds", "2"]) == 0, "they were put back"
    assert not written(out, "changed.json")
    assert before.items() <= files(out).items()
    assert len(set(digests(out))) == 1

    changes("-more")
    assert grid.main([*command, "--seeds", "3", "--retry", "all"]) == 0
    assert len(digests(out)) == 3
    assert {digest.rpartition("-")[2] for digest in digests(out)} == {"more"}
    assert sorted(trainings(cell) for cell in (out / "cells").iterdir()) == [1, 2, 2]
    assert not written(out, "changed.json")
    assert pd.read_parquet(out / "results.parquet")["fid_name"].nunique() == 1
    assert grid.main([*command, "--seeds", "3"]) == 0


@pytest.mark.usefixtures("here")
def test_images_that_changed_between_two_commands_with_minutes(
    tmp_path: Path, changes: Changes, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every seed so far is done: what changed is found when the next one begins."""
    out = tmp_path / "run"
    command = [*TINY, "--minutes", "30", "--out", str(out)]
    assert grid.main([*command, "--seeds", "1"]) == 0
    changes("-more")
    assert grid.main([*command, "--seeds", "2"]) == 2
    assert "or add --retry all" in capsys.readouterr().err
    assert grid.main([*command, "--seeds", "2", "--retry", "all"]) == 0
    assert [digest.rpartition("-")[2] for digest in digests(out)] == ["more", "more"]
    assert not written(out, "changed.json")
    frame = pd.read_parquet(out / "results.parquet")
    assert (frame["fid_name"].nunique(), set(frame["seed"])) == (1, {0, 1})


@pytest.mark.usefixtures("here")
def test_a_training_that_was_interrupted_before_the_images_changed(
    tmp_path: Path, changes: Changes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checkpoint would be continued on other images; without one it begins with those that are there."""
    out = tmp_path / "run"
    command = [*TINY, "--checkpoint", "1e-9", "--out", str(out)]

    def broken(*given: Any) -> None:
        raise RuntimeError("a bad day")

    with monkeypatch.context() as patch:
        patch.setattr("bench.worker.pack.save", broken)
        assert grid.main(command) == 1
    changes("-more")
    assert list(out.glob("cells/*/checkpoint-*"))
    assert grid.main([*command, "--retry", "failed"]) == 2
    assert "changed after 1 cell in" in capsys.readouterr().err
    assert grid.main([*command, "--retry", "all"]) == 0
    assert digests(out)[0].endswith("-more")
