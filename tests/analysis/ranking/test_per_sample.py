"""Intervals of single runs: what the bootstrap over captions says of samples whose law is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from analysis.ranking import ranking
from analysis.runs import synthetic
from analysis.runs.run import Run, read

NAMES = ("rf", "eps/linear", "v/cos")


@pytest.fixture
def one(tmp_path: Path) -> Path:
    return synthetic.write(tmp_path, synthetic.Truth(NAMES, (0.0, 0.5, -0.5)), seeds=1, samples=200)


def replaced(folder: Path, change) -> Run:
    """The run after ``change(formulation, tensors)`` of the values of each cell's samples."""
    names = {c["cell"]: c["formulation"] for c in json.loads((folder / "grid.json").read_text())["cells"]}
    for file in folder.glob("cells/*/*/per_sample.safetensors"):
        tensors = change(names[file.parents[1].name], load_file(file))
        save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, file)
    return read(folder)


def intervals(run: Run) -> pd.DataFrame:
    return ranking.rank(run).frame().set_index("formulation")


def test_the_width_is_that_of_the_mean_of_n_samples(one: Path) -> None:
    rng = np.random.default_rng(0)
    noise = {name: rng.normal(0, 5, 200) for name in NAMES}

    def change(name: str, tensors: dict) -> dict:
        return {
            k: (noise[name] + 40).astype(np.float32) if k.endswith("/clip") else v for k, v in tensors.items()
        }

    found = intervals(replaced(one, change))
    half = (found["clip_high"] - found["clip_low"]) / 2
    expected = [1.96 * noise[name].std() / np.sqrt(200) for name in found.index]
    np.testing.assert_allclose(half, expected, rtol=0.06)
    assert ((found["clip_low"] < found["clip"]) & (found["clip"] < found["clip_high"])).all()


def test_what_formulations_share_drops_out_of_differences(one: Path) -> None:
    rng = np.random.default_rng(1)
    common, own = rng.normal(0, 5, 200), {name: rng.normal(0, 0.5, 200) for name in NAMES}

    def change(name: str, tensors: dict) -> dict:
        return {k: common + own[name] if k.endswith("/clip") else v for k, v in tensors.items()}

    found = intervals(replaced(one, change))
    best = found.index[0]
    for name in found.index[1:]:
        half = (found.loc[name, "clip_behind_high"] - found.loc[name, "clip_behind_low"]) / 2
        assert half == pytest.approx(1.96 * (own[name] - own[best]).std() / np.sqrt(200), rel=0.06)
    assert found.loc[best, "clip_behind_low"] == found.loc[best, "clip_behind_high"] == 0.0


def test_kid_has_its_own_error(one: Path) -> None:
    found = intervals(read(one))
    np.testing.assert_allclose(found["kid_high"] - found["kid"], 1.96 * 0.001, rtol=1e-4)


def test_nothing_where_a_setting_has_no_values(one: Path) -> None:
    def change(name: str, tensors: dict) -> dict:
        return {k: v for k, v in tensors.items() if not (name == "rf" and k == "ema-5-5/fid")}

    found = intervals(replaced(one, change))
    assert np.isnan(found.loc["rf", "fid_low"])
    assert np.isfinite(found.loc["rf", "clip_low"])
    assert np.isfinite(found.loc["v/cos", "fid_low"])


def test_the_ranking_of_one_seed_shows_them_and_of_several_does_not(one: Path, tmp_path: Path) -> None:
    found = intervals(read(one))
    assert found[["clip_low", "fid_low", "kid_low"]].notna().all(axis=None)
    assert found["clip_tied"].isna().all()
    several = synthetic.write(
        tmp_path / "several", synthetic.Truth(NAMES, (0.0, 0.5, -0.5)), seeds=3, samples=20
    )
    assert "kid_low" not in intervals(read(several))


def test_datasets_count_as_in_the_printed_mean(tmp_path: Path) -> None:
    """Six settings of one dataset and one of another: the mean is over seven."""
    settings = {"seeds": 1, "samples": 200, "datasets": ("shapes", "digits"), "weights": ("ema",)}
    folder = synthetic.write(tmp_path, synthetic.Truth(NAMES, (0.0, 0.5, -0.5)), **settings)
    about = read(folder)
    noise = np.random.default_rng(0).normal(0, 5, 200).astype(np.float32)
    cells = {c["cell"]: c["dataset"] for c in json.loads((folder / "grid.json").read_text())["cells"]}
    for file in folder.glob("cells/*/*/per_sample.safetensors"):
        here = noise if cells[file.parents[1].name] == "digits" else 0 * noise
        save_file({k: here if k.endswith("/clip") else v for k, v in load_file(file).items()}, file)
    frame = about.frame
    about = replace(about, frame=frame[(frame["dataset"] == "shapes") | (frame["steps"] == 5)])
    found = intervals(about)
    np.testing.assert_allclose(found["clip"], about.frame.groupby("formulation")["clip"].mean()[found.index])
    half = (found["clip_high"] - found["clip_low"]) / 2
    np.testing.assert_allclose(half, 1.96 * noise.std() / np.sqrt(200) / 7, rtol=0.06)


def test_seeded(one: Path) -> None:
    run = read(one)
    first, again = intervals(run), intervals(run)
    assert first.equals(again)
