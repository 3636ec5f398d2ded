"""FID by depth on the latents of several autoencoders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import autoencoders
from analysis.runs import run
from bench.config.presets import PRESETS
from bench.planning.cells import cells_of

NAME = "fid[tinyclip-1a2b3c4d,bicubic32,ref=encoded-{}-40,n=16]"


def written(folder: Path, fids: dict[tuple[str, int], list[float]], **more: Any) -> Path:
    """A folder with the table of a grid: FIDs of seeds, by latents and depth."""
    rows = [
        {"formulation": "rf", "dataset": dataset, "seed": seed, "weights": "ema", "steps": 5, "cfg": 5.0}
        | {"fid": fid, "clip": 1.0, "fid_name": NAME.format(f"{len(dataset):08x}")}
        | {
            "status": "done" if np.isfinite(fid) else "diverged",
            "recipe": json.dumps({"model": {"depth": depth}}),
        }
        | more
        for (dataset, depth), seeds in fids.items()
        for seed, fid in enumerate(seeds)
    ]
    folder.mkdir()
    pd.DataFrame(rows).to_parquet(folder / "results.parquet")
    return folder


def test_fids_are_geometric_means_with_the_interval_of_a_t_test(tmp_path: Path) -> None:
    values = [1.0, 2.0, 3.0]
    grid = {
        ("encoded:4", 1): values,
        ("encoded:16", 1): [4.0] * 3,
        ("encoded:4", 2): [2.0] * 3,
        ("encoded:16", 2): [1.0] * 3,
    }
    folder = written(tmp_path / "run", grid)
    scores = {
        d: {"fid_decoded": f, "fid_name": NAME.format("x")}
        for d, f in (("encoded:4", 0.5), ("encoded:16", 0.1))
    }
    (folder / "real-scores.json").write_text(json.dumps(scores))
    found = autoencoders.compared(run.read(folder))
    one = found.set_index(["network", "dataset"]).loc[("depth 1", "encoded:4")]
    theirs = stats.ttest_1samp(np.log(values), 0).confidence_interval()
    assert one["fid"] == pytest.approx(6 ** (1 / 3))
    assert (one["low"], one["high"]) == pytest.approx((np.exp(theirs.low), np.exp(theirs.high)))
    cells = autoencoders.table(found).cells
    assert cells["FID"].tolist() == ["reconstruction", "depth 1", "depth 2"]
    assert cells["lowest"].tolist() == ["encoded:16", "encoded:4", "encoded:16"]
    assert cells["encoded:16"].tolist() == ["0.100", "4.000 [4.000, 4.000]", "1.000 [1.000, 1.000]"]


def test_a_training_that_diverges_is_never_the_lowest(tmp_path: Path) -> None:
    found = autoencoders.compared(
        run.read(written(tmp_path / "run", {("encoded:4", 1): [9.0], ("encoded:16", 1): [np.nan]}))
    )
    table = autoencoders.table(found)
    assert table.cells["lowest"].tolist() == ["encoded:4"]
    assert table.cells["encoded:16"].tolist() == ["inf"]
    assert "no interval of one seed" in table.notes


def test_fids_of_other_recipes_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written(tmp_path / "run", {("encoded:4", 1): [1.0], ("encoded:16", 1): [2.0]})
    frame = pd.read_parquet(folder / "results.parquet")
    frame.loc[0, "fid_name"] = str(frame.loc[0, "fid_name"]).replace("n=16", "n=32")
    frame.to_parquet(folder / "results.parquet")
    assert autoencoders.main([str(folder)]) == 2
    assert "FIDs by different recipes" in capsys.readouterr().err


def test_trainings_of_two_lengths_are_not_averaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written(tmp_path / "run", {("encoded:4", 1): [1.0], ("encoded:16", 1): [2.0]})
    frame = pd.read_parquet(folder / "results.parquet")
    frame.loc[0, "recipe"] = json.dumps({"model": {"depth": 1}, "training": {"steps": 9}})
    frame.to_parquet(folder / "results.parquet")
    assert autoencoders.main([str(folder)]) == 2
    assert "differ in more than their depth (training.steps 9, None)" in capsys.readouterr().err


def test_the_preset_has_three_sizes_of_latents_at_three_depths() -> None:
    cells = cells_of(PRESETS["autoencoders"])
    assert len({(cell.dataset, cell.model.depth) for cell in cells}) == len(cells) == 9
