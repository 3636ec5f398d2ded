"""Cells that fail or diverge: the others are kept, and they run again only when asked to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench import grid
from bench.training import train
from bench.worker import pack
from flowbench._core import atomic

from .runs import OFTEN, SMALL, cell_of, files, metrics, trainings, written

pytestmark = pytest.mark.usefixtures("here")


def breaks_at(monkeypatch: pytest.MonkeyPatch, formulation: str, message: str) -> None:
    """Let packs with a formulation fail before they train."""
    real = pack.train_pack

    def broken(cells: Any, *rest: Any) -> None:
        if any(p.cell.formulation == formulation for p in cells):
            raise RuntimeError(message)
        real(cells, *rest)

    monkeypatch.setattr(pack, "train_pack", broken)


def test_a_failing_cell_is_reported_and_the_others_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [*SMALL, "--pack", "1", "--out", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        breaks_at(patch, "eps/linear", "out of memory")
        assert grid.main(command) == 1
    printed = capsys.readouterr()
    assert "failed: eps/linear on shapes, seed 0: RuntimeError: out of memory" in printed.err
    assert "rf/lognorm(0.00,1.00)" in printed.out
    assert "RuntimeError" in (cell_of(tmp_path / "run", "eps/linear") / "error.txt").read_text()
    (noted,) = (tmp_path / "run").glob("submissions/*/failures/*")
    assert noted.name.partition(".")[2] == cell_of(tmp_path / "run", "eps/linear").name

    before = files(tmp_path / "run")
    assert grid.main(command) == 1
    assert files(tmp_path / "run") == before, "what failed once would fail again"
    printed = capsys.readouterr()
    assert "nothing to run: 1 done, 1 failed" in printed.err
    assert "failed: eps/linear on shapes, seed 0: RuntimeError: out of memory" in printed.err
    assert "'--retry failed' runs failed cells again" in printed.err

    assert grid.main([*command, "--retry", "failed"]) == 0
    assert (
        before.items() - files(tmp_path / "run").items()
        == {item for item in before.items() if cell_of(tmp_path / "run", "eps/linear").name in item[0]}
        - files(tmp_path / "run").items()
    )
    assert set(pd.read_parquet(tmp_path / "run" / "results.parquet")["status"]) == {"done"}
    assert "failed" not in capsys.readouterr().err


def test_only_the_culprit_of_a_pack_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks_at(monkeypatch, "eps/linear", "a bad day")
    assert grid.main([*SMALL, "--out", str(tmp_path / "run")]) == 1
    printed = capsys.readouterr()
    assert printed.err.count("failed: ") == 1
    assert "failed: eps/linear" in printed.err
    assert "rf/lognorm(0.00,1.00)" in printed.out


@pytest.mark.parametrize("what", ["failed", "all"])
def test_a_failed_training_continues_or_starts_anew_as_asked(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails at its second validation, with a checkpoint of the first step."""
    command = [*SMALL, *OFTEN, "--formulations", "eps/linear", "--out"]
    real, calls = train.validate, iter(range(10))

    def broken(*given: Any) -> Any:
        if next(calls) == 1:
            raise RuntimeError("a bad day")
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(train, "validate", broken)
        assert grid.main([*command, str(tmp_path / "run")]) == 1
    cell = cell_of(tmp_path / "run", "eps/linear")
    assert {"checkpoint-00000001.safetensors", "error.txt"} <= {p.name for p in cell.iterdir()}
    assert grid.main([*command, str(tmp_path / "run"), "--retry", what]) == 0
    assert not list(cell.glob("checkpoint-*"))
    log = (cell / "log.txt").read_text()
    assert f"tried again, {'from where it was' if what == 'failed' else 'from the start'}" in log
    assert ("continuing at step 1" in log) == (what == "failed")

    assert grid.main([*command, str(tmp_path / "other")]) == 0
    other = tmp_path / "other" / "cells" / cell.name
    assert metrics(cell) == metrics(other), "as if nothing had happened, bit for bit"
    for name in ("ema.safetensors", "raw.safetensors"):
        assert (cell / name).read_bytes() == (other / name).read_bytes()


def test_failed_measuring_does_not_train_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: Any, **named: Any) -> None:
        raise OSError("disk full")

    command = [*SMALL, "--out", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        patch.setattr(pack, "measure", broken)
        assert grid.main(command) == 1
    printed = capsys.readouterr().err
    cause = "on shapes, seed 0 and 1 other cell: OSError: disk full"
    assert len([line for line in printed.splitlines() if line.endswith(cause)]) == 1, "one line a cause"
    weights = written(tmp_path / "run", "ema.safetensors")
    assert len(weights) == 2
    assert grid.main([*command, "--retry", "failed"]) == 0
    assert written(tmp_path / "run", "ema.safetensors") == weights
    assert not written(tmp_path / "run", "error.txt")


def test_all_diverged_is_no_ranking_and_leaves_no_old_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert grid.main([*SMALL, "--out", str(out)]) == 0
    diverging = [*SMALL, "--lr", "1e30", "--out", str(out)]
    assert grid.main(diverging) == 1
    assert "no ranking: of 2 cells 2 diverged" in capsys.readouterr().err
    assert not (out / "samples.png").exists()
    assert not (out / "results.parquet").exists()

    diverged = [cell for cell in out.glob("cells/*") if not (cell / "ema.safetensors").exists()]
    assert [trainings(cell) for cell in diverged] == [1, 1]
    before = files(out)
    assert grid.main([*diverging, "--retry", "failed"]) == 1
    assert files(out) == before, "diverging is a result"
    assert "nothing to run: 2 diverged" in capsys.readouterr().err
    assert grid.main([*diverging, "--retry", "all"]) == 1
    assert [trainings(cell) for cell in diverged] == [2, 2]

    assert grid.main([*SMALL, "--out", str(out)]) == 0
    assert "2 cells of other configurations" in capsys.readouterr().out
    assert (out / "samples.png").exists()


def test_what_was_deleted_or_damaged_is_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    command = [*SMALL, "--out", str(out)]
    assert grid.main(command) == 0
    before = pd.read_parquet(out / "results.parquet")
    cell, other = (out / "cells").iterdir()
    (real_scores,) = (out / "real-scores").glob("*/*.json")
    (result,), (second,) = (each.glob("*/result.json") for each in (cell, other))
    picture, lost = (next(each.glob("images-*/*")) for each in (cell, other))

    def again() -> str:
        capsys.readouterr()
        assert grid.main(command) == 0
        found = pd.read_parquet(out / "results.parquet")
        np.testing.assert_allclose(found["fid"], before["fid"], rtol=1e-3)
        printed = capsys.readouterr()
        assert "real images" in printed.out
        return printed.err

    real_scores.write_text('{"shap')
    result.write_text("[]")
    second.write_text("{}")
    weights, said = written(out, "ema.safetensors"), again()
    for file in (result, second):
        assert f"is measured again: {file} cannot be read" in said
    result.write_text('{"settings"')
    picture.write_bytes(b"noise")
    lost.unlink()
    second.unlink()
    assert f"is measured again: {result} cannot be read" in again()
    atomic.write_tensors(picture, {"images": atomic.read_tensors(picture)[0]["images"]})
    result.unlink()
    assert f"generated again: {picture} holds no path_length" in again()
    assert written(out, "ema.safetensors") == weights
    assert [trainings(each) for each in (cell, other)] == [1, 1]
    (cell / "ema.safetensors").unlink()
    result.unlink()
    again()
    assert [trainings(each) for each in (cell, other)] == [2, 1]


@pytest.mark.parametrize("name", ["config.json", "status.json"])
def test_a_cell_with_a_damaged_file_is_named_and_run_again(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*SMALL, "--formulations", "eps/linear", "--out", str(tmp_path / "run")]
    assert grid.main(command) == 0
    file = cell_of(tmp_path / "run", "eps/linear") / name
    capsys.readouterr()
    file.write_text('{"sta')
    assert grid.main(command) == 0
    printed = capsys.readouterr()
    assert f"eps/linear on shapes, seed 0 is run again: {file} cannot be read" in printed.err
    assert trainings(file.parent) == 2


def test_damaged_weights_are_trained_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One bit of them is enough; the other cell's weights stay."""
    out = tmp_path / "run"
    assert grid.main([*SMALL, "--out", str(out)]) == 0
    file, kept = (cell_of(out, name) / "ema.safetensors" for name in ("eps/linear", "rf/lognorm(0.00,1.00)"))
    whole, before = bytearray(file.read_bytes()), kept.stat().st_mtime_ns
    whole[-1] ^= 1
    file.write_bytes(whole)
    capsys.readouterr()
    assert grid.main([*SMALL, "--samples", "16", "--out", str(out)]) == 0
    assert f"{file} cannot be read (its content is not what was written)" in capsys.readouterr().err
    assert kept.stat().st_mtime_ns == before
    assert [trainings(each.parent) for each in (file, kept)] == [2, 1]
