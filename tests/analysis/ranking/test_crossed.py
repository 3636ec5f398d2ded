"""``rank --effects`` on tables: the cross of a base formulation and a timestep sampler."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from analysis.rank import main
from analysis.ranking import crossed
from analysis.runs.run import read
from flowbench._core.errors import UserError


def write(folder: Path, noise: float = 0.1, **columns: object) -> Path:
    """Two bases by two samplers over three seeds: the second base is 2 better in CLIP, the second sampler 1."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "formulation": f"{base}/{sampler}",
            "base": base,
            "sampler": sampler,
            "dataset": "a",
            "weights": "ema",
        }
        | {"steps": 5, "cfg": 5.0, "seed": seed, "fid": 20.0}
        | {"clip": 30 + 2.0 * (base == "edm") + (sampler == "cosmap") + noise * rng.normal()}
        for base in ("rf", "edm")
        for sampler in ("uniform", "cosmap")
        for seed in range(3)
    ]
    file = folder / "cross.csv"
    pd.DataFrame(rows).assign(**columns).to_csv(file, index=False)
    return file


def clip(file: Path, factor: str) -> pd.DataFrame:
    return next(t.frame for t in crossed.tables(read(file)) if t.name == f"clip_{factor}")


def test_effects_of_a_made_up_cross(tmp_path: Path) -> None:
    base, sampler = clip(file := write(tmp_path), "base"), clip(file, "sampler")
    assert base["base"].tolist() == ["edm", "rf"]
    assert base["effect"].tolist() == pytest.approx([1.0, -1.0], abs=0.1)
    assert sampler["effect"].tolist() == pytest.approx([0.5, -0.5], abs=0.1)
    assert base["tied"].tolist() == sampler["tied"].tolist() == [True, False]
    assert (base["low"] < base["effect"]).all()
    assert (base["effect"] < base["high"]).all()


def test_the_notes_have_the_smallest_difference_that_separates_two_levels(tmp_path: Path) -> None:
    """Of two levels: the one-sided quantile of t, where the interval of their difference has the two-sided one."""
    table = next(made for made in crossed.tables(read(write(tmp_path))) if made.name == "clip_base")
    half = (table.frame["high"] - table.frame["low"]).iloc[0]  # of an effect, half of the difference's
    gap = half * t.ppf(0.95, 2) / t.ppf(0.975, 2)
    assert any(f"; 2 df; separable gap {gap:.2f}, family-wise 95 %" in note for note in table.notes)
    assert gap < 2


def test_without_noise_nothing_is_sure(tmp_path: Path) -> None:
    (table,) = (t for t in crossed.tables(read(write(tmp_path, noise=0.0))) if t.name == "clip_base")
    assert table.frame[["low", "high"]].isna().all(axis=None)
    assert not table.frame["tied"].any()
    assert table.notes[-1] == "effect: the same in all 3 seeds, so the noise of seeds is unknown"


def test_an_unnamed_sampler_is_no_uniform_one(tmp_path: Path) -> None:
    frame = pd.read_csv(write(tmp_path))
    own = frame[frame["formulation"] == "rf/uniform"].assign(formulation="my", base="my", sampler=None)
    pd.concat([frame, own]).to_csv(tmp_path / "own.csv", index=False)
    (table,) = (t for t in crossed.tables(read(tmp_path / "own.csv")) if t.name == "clip_base")
    assert "without a named base and sampler, left out: my" in table.notes
    assert table.frame.equals(clip(tmp_path / "cross.csv", "base"))


def test_two_formulations_of_one_name_are_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--effects: .* and .* both are 'rf' with 'u'"):
        crossed.tables(read(write(tmp_path, base="rf", sampler="u")))


def test_pending_cells_are_reported(tmp_path: Path) -> None:
    frame = pd.read_csv(write(tmp_path))
    more = frame[frame["seed"] == 2].assign(seed=3, status="pending")
    pd.concat([frame, more]).to_csv(tmp_path / "running.csv", index=False)
    notes = crossed.tables(read(tmp_path / "running.csv"))[0].notes
    assert notes[0].startswith("provisional: 12 of 16 cells are finished; left out: a seed 3")


def test_csv_is_the_first_table_and_a_notice_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(write(tmp_path))
    assert main([file, "--effects", "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("base,effect,low,high,tied")
    assert err == "csv holds the first of 6 tables, rank_base; --format json has all\n"
    assert main([file, "--effects", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert set(json.loads(out)) >= {"rank_base", "rank_sampler", "clip_base", "clip_sampler"}
    assert err == ""
