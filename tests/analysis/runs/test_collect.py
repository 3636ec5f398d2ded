"""Collecting a run folder: what each state of a cell becomes, and that only what changed is read again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.runs import collect, recipe_fields, synthetic
from analysis.runs.run import read
from bench.runfolder import manifest
from flowbench._core import atomic
from flowbench._core.errors import UserError

NAMES = ("rf", "rf/lognorm(0.00,1.00)", "eps/linear")
SETTINGS = ((50, 5.0), (5, 5.0))


def write(folder: Path, **options: object) -> Path:
    truth = synthetic.Truth(NAMES, (0.0, 1.0, -1.0))
    usual = {"seeds": 2, "weights": ("ema",), "settings": SETTINGS, "samples": 16}
    return synthetic.write(folder, truth, **(usual | options))


def cell_of(folder: Path, formulation: str, seed: int) -> Path:
    (plan,) = manifest.read(folder)
    found = next(c.id for c in plan.cells if (c.formulation, c.seed) == (formulation, seed))
    return folder / "cells" / found


def read_files(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The JSON files that a collection reads from now on."""
    seen: list[Path] = []
    original = atomic.read_object

    def spy(file: Path, cure: str = "") -> dict[str, object]:
        seen.append(file)
        return original(file, cure)

    monkeypatch.setattr(atomic, "read_object", spy)
    return seen


def test_every_planned_cell_has_a_row_for_each_setting(tmp_path: Path) -> None:
    def status(formulation: str, dataset: str, seed: int) -> str | None:
        return {("rf", 0): "diverged", ("rf", 1): "failed", ("eps/linear", 1): "pending"}.get(
            (formulation, seed)
        )

    frame = read(write(tmp_path, status=status)).frame
    assert len(frame) == 3 * 2 * 2
    counted = frame.groupby(["formulation", "seed"])["status"].unique().map(list).to_dict()
    assert counted[("rf", 0)] == ["diverged"]
    assert counted[("rf", 1)] == ["failed"]
    assert counted[("eps/linear", 1)] == ["pending"]
    assert counted[("eps/linear", 0)] == ["done"]
    assert frame.loc[frame["status"] != "done", ["clip", "fid", "val_loss"]].isna().all(axis=None)
    done = frame[frame["status"] == "done"]
    result = json.loads(
        (cell_of(tmp_path, "eps/linear", 0) / synthetic.EVALUATION / "result.json").read_text()
    )
    row = done[(done["formulation"] == "eps/linear") & (done["seed"] == 0) & (done["steps"] == 5)].iloc[0]
    assert row["clip"] == result["settings"]["ema-5-5"]["clip"]
    assert row["clip_name"] == result["names"]["clip_name"]
    assert recipe_fields.flat(row["recipe"])["model.depth"] == 4


def test_only_cells_that_changed_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read(write(tmp_path)).frame
    seen = read_files(monkeypatch)
    again = read(tmp_path).frame
    assert seen == []
    pd.testing.assert_frame_equal(again, first)
    home = cell_of(tmp_path, "rf", 1)
    result = home / synthetic.EVALUATION / "result.json"
    kept = json.loads(result.read_text())
    kept["settings"]["ema-5-5"]["clip"] = 77.25
    result.write_text(json.dumps(kept))
    frame = read(tmp_path).frame
    assert {file.parent for file in seen} == {home, result.parent}
    assert frame.loc[frame["clip"] == 77.25, "formulation"].tolist() == ["rf"]
    assert len(frame) == len(first)


def test_another_plan_is_collected_anew(tmp_path: Path) -> None:
    assert set(read(write(tmp_path)).frame["seed"]) == {0, 1}
    write(tmp_path, seeds=1)
    assert set(read(tmp_path).frame["seed"]) == {0}
    write(tmp_path, settings=((50, 5.0),))
    assert set(read(tmp_path).frame["steps"]) == {50}


def test_a_confirmation_is_kept_apart(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, first_seed=1000)
    frame = read(tmp_path).frame
    assert frame.groupby("phase")["seed"].unique().map(list).to_dict() == {
        "rank": [0, 1],
        "confirm": [1000, 1001],
    }


def test_a_damaged_result_is_pending_and_reported_until_it_is_mended(tmp_path: Path) -> None:
    write(tmp_path)
    file = cell_of(tmp_path, "rf", 1) / synthetic.EVALUATION / "result.json"
    whole = file.read_text()
    foreign = [
        '{"settings": 3, "names": {}}',
        '{"settings": {}, "names": {}}',
        '{"settings": {"a": {}}, "names": {}}',
    ]
    first = json.loads(whole)
    for value in ("many", {"a": 1}, [1, "b"], True):
        next(iter(first["settings"].values()))["fid"] = value
        foreign.append(json.dumps(first))
    for text in (whole[: len(whole) // 2], "[]", "", *foreign):
        file.write_text(text)
        for _ in range(2):  # not forgotten the second time
            found = read(tmp_path)
            frame = found.frame
            assert [str(file) in sentence for sentence in found.damaged] == [True]
            rows = frame[(frame["formulation"] == "rf") & (frame["seed"] == 1)]
            assert rows["status"].tolist() == ["pending", "pending"]
    file.write_text(whole)
    found = read(tmp_path)
    assert found.damaged == ()
    assert set(found.frame["status"]) == {"done"}


def test_measurements_without_their_samples_are_not_there(tmp_path: Path) -> None:
    file = cell_of(write(tmp_path), "rf", 1) / synthetic.EVALUATION / "per_sample.safetensors"
    assert set(read(tmp_path).frame["status"]) == {"done"}
    whole = file.read_bytes()
    file.unlink()
    assert (read(tmp_path).frame["status"] == "pending").sum() == 2
    file.write_bytes(whole)
    assert set(read(tmp_path).frame["status"]) == {"done"}


def test_a_table_with_a_few_wrong_bytes_is_made_again(tmp_path: Path) -> None:
    first = read(write(tmp_path)).frame
    whole = (tmp_path / "results.parquet").read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    rng = np.random.default_rng(0)
    for place in rng.integers(4, footer, size=40):  # of what the pages hold
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        (tmp_path / "results.parquet").write_bytes(bytes(damaged))
        pd.testing.assert_frame_equal(read(tmp_path).frame, first)


def test_a_damaged_table_is_made_again(tmp_path: Path) -> None:
    first = read(write(tmp_path)).frame
    for left in (b"", b"PAR1", (tmp_path / "results.parquet").read_bytes()[:-9]):
        (tmp_path / "results.parquet").write_bytes(left)
        pd.testing.assert_frame_equal(read(tmp_path).frame, first)
    first.to_parquet(tmp_path / "results.parquet")  # one without what is kept next to it
    pd.testing.assert_frame_equal(read(tmp_path).frame, first)


def test_a_folder_that_cannot_be_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(atomic.tempfile, "mkstemp", refuse)
    assert len(read(write(tmp_path)).frame) == 12
    assert not (tmp_path / "results.parquet").exists()
    assert [name for name in os.listdir(tmp_path) if name.startswith(".")] == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is no plan of this version of flowbench"),
        ("[]", "is no plan of this version of flowbench"),
        (
            '{"grid": {}, "command": []}',
            r"is no plan of this version of flowbench \(KeyError: 'evaluation'\)",
        ),
    ],
)
def test_foreign_plans(text: str, sentence: str, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "grid.json").write_text(text)
    with pytest.raises(UserError, match=sentence):
        read(tmp_path)


def test_a_cell_without_a_recipe(tmp_path: Path) -> None:
    write(tmp_path)
    kept = json.loads((tmp_path / "grid.json").read_text())
    kept["cells"][3]["recipe"] = 9
    (tmp_path / "grid.json").write_text(json.dumps(kept))
    with pytest.raises(UserError, match="a cell has no recipe"):
        read(tmp_path)


def test_a_table_does_not_depend_on_what_was_collected_before(tmp_path: Path) -> None:
    """Also the types and the order of its columns, and the order of its rows."""
    whole = pd.read_parquet(read_to(write(tmp_path / "whole")))
    late = write(
        tmp_path / "late", status=lambda formulation, dataset, seed: "pending" if seed == 0 else None
    )
    read_to(late)
    read_to(write(tmp_path / "late"))
    pd.testing.assert_frame_equal(pd.read_parquet(late / collect.RESULTS), whole)


def read_to(folder: Path) -> Path:
    """The table that is left in a folder when it is read."""
    read(folder)
    return folder / collect.RESULTS
