"""The scaling of whole run folders: what is read, refused, left out and reported."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr, spearmanr, t

from analysis import scaling
from analysis.published import paper_tables
from analysis.runs import run, synthetic
from flowbench._core.errors import UserError

SIZES = [(depth, steps) for depth in (1, 2, 3) for steps in (500, 4000)]
SETTINGS = ((50, 5.0), (10, 5.0), (5, 5.0))


def write(folder: Path, formulations: Sequence[str] = ("rf",), **options: Any) -> Path:
    options = {"seeds": 3, "sizes": SIZES, "settings": SETTINGS, "weights": ("ema",), "samples": 8} | options
    return synthetic.write(folder, synthetic.truth(formulations), **options)


def change(folder: Path, size: tuple[int, int], seed: int, status: dict[str, Any] | None) -> None:
    """Give a cell another status; None takes it away."""
    plan = json.loads((folder / "grid.json").read_text())
    recipe = SIZES.index(size)
    (cell,) = (c["cell"] for c in plan["cells"] if (c["recipe"], c["seed"]) == (recipe, seed))
    file = folder / "cells" / cell / "status.json"
    if status is None:
        for kept in sorted(file.parent.rglob("*"), reverse=True):
            kept.unlink() if kept.is_file() else kept.rmdir()
    else:
        file.write_text(json.dumps(status))


def report(folder: Path, *where: str) -> scaling.Scaling:
    return scaling.report(run.read(folder, where))


def sized(frame: pd.DataFrame, depth: int, steps: int) -> pd.DataFrame:
    """The rows of one size."""
    recipes = frame["recipe"].map(json.loads)
    return frame[recipes.map(lambda r: (r["model"]["depth"], r["training"]["steps"]) == (depth, steps))]


def notes(found: scaling.Scaling) -> str:
    return "\n".join(note for table in found.tables() for note in table.notes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("scaling") / "whole")


def test_runs_are_means_over_seeds_and_control_settings(whole: Path) -> None:
    frame, found = run.read(whole).frame, report(whole)
    assert list(zip(found.table["depth"], found.table["steps"], strict=True)) == SIZES
    assert (found.table["seeds"] == 3).all()
    for (depth, steps), row in zip(SIZES, found.table.to_dict("records"), strict=True):
        mine = sized(frame, depth, steps)
        assert len(mine) == 9
        assert row["parameters"] == mine["parameters"].iloc[0] == 147_456 * depth**3
        assert row["train_flops"] == mine["train_flops"].iloc[0]
        assert row["clip"] == pytest.approx(mine["clip"].mean())
        assert row["val_loss"] == pytest.approx(np.exp(np.log(mine["val_loss"]).mean()))
        assert row["clip_low"] < row["clip"] < row["clip_high"]
        assert row["val_loss_low"] < row["val_loss"] < row["val_loss_high"]


def test_the_truth_of_the_example_is_found(tmp_path: Path) -> None:
    """Losses of synthetic runs are 0.2 + A C^-0.08."""
    sizes = [(depth, steps) for depth in (1, 2, 3, 5) for steps in (100, 1000, 10_000)]
    law = report(write(tmp_path, sizes=sizes)).laws.iloc[0]
    assert law["alpha_low"] < 0.08 < law["alpha_high"] < 0.12
    assert law["e_low"] < 0.2 < law["e_high"]


def test_correlations_are_scipys_of_the_table(whole: Path) -> None:
    found = report(whole)
    for row in found.correlations.to_dict("records"):
        loss, other = found.table["val_loss"], found.table[str(row["metric"])]
        assert row["spearman"] == pytest.approx(spearmanr(loss, other).statistic)
        assert row["pearson"] == pytest.approx(pearsonr(np.log(loss), np.log(other)).statistic)
        for name in ("spearman", "pearson"):
            assert -1 <= row[f"{name}_low"] <= row[name] <= row[f"{name}_high"] <= 1 + 1e-9
    assert list(found.correlations["metric"]) == ["clip", "fid", "composition"]


def test_sampling_efficiency_is_the_share_of_clip_that_is_lost_next_to_the_papers(whole: Path) -> None:
    frame, table = run.read(whole).frame, report(whole).efficiency
    ours, papers = table[table["source"] == "this run"], table[table["source"] != "this run"]
    assert list(ours["depth"]) == [1, 2, 3]
    assert (ours["training_steps"] == 4000).all()
    clip = sized(frame, 2, 4000).pivot(index="seed", columns="steps", values="clip")
    for steps in (5, 10):
        drop = 100 * (1 - clip[steps] / clip[50])
        row = ours.iloc[1]
        assert row[f"drop_{steps}"] == pytest.approx(drop.mean())
        assert row[f"drop_{steps}_low"] < drop.mean() < row[f"drop_{steps}_high"]
    assert list(ours["path_length"]) == [189.0, 188.0, 187.0]
    printed = paper_tables.table(6)
    assert list(papers["drop_20"]) == list(printed["clip_drop_20"])
    assert list(papers["path_length"]) == list(printed["path_length"])


def test_sampling_efficiency_takes_the_guidance_with_most_numbers_of_steps(tmp_path: Path) -> None:
    settings = ((50, 1.0), (50, 2.5), (50, 5.0), (5, 5.0), (25, 5.0))
    found = report(write(tmp_path, settings=settings, weights=("ema", "raw"), sizes=[(1, 500), (2, 500)]))
    assert "EMA weights, guidance 5; drops are of the CLIP score at 50 steps" in notes(found)
    assert found.efficiency["drop_25"].notna().sum() == 2
    alone = report(tmp_path, "steps=50")
    assert alone.efficiency.empty
    assert "one number of sampling steps only" in notes(alone)


def test_one_depth_alone_has_an_interval_from_its_own_seeds(tmp_path: Path) -> None:
    sizes = [(2, 500), (2, 4000)]
    found = report(write(tmp_path, sizes=sizes))
    assert found.laws.empty, "two points, and two constants of a line"
    assert "no law: the compute frontier has 2 runs" in notes(found)
    clip = sized(run.read(tmp_path).frame, 2, 4000).pivot(index="seed", columns="steps", values="clip")
    drop = 100 * (1 - clip[5] / clip[50])
    margin = t.ppf(0.975, 2) * drop.std(ddof=1) / np.sqrt(3)
    row = found.efficiency.iloc[0]
    assert (row["drop_5_low"], row["drop_5_high"]) == pytest.approx(
        (drop.mean() - margin, drop.mean() + margin)
    )


def test_one_seed_has_no_intervals_and_says_so(tmp_path: Path) -> None:
    found = report(write(tmp_path, seeds=1))
    assert not found.drawn
    for frame in (found.table, found.laws, found.correlations, found.efficiency):
        assert frame.filter(regex="_(low|high)$").isna().all(axis=None)
    assert "no intervals: they need two runs that share two seeds" in notes(found)
    assert "no intervals; of 6 runs in random order 0.28 % have a Spearman correlation of 1 or -1" in notes(
        found
    )
    assert found.laws["alpha"].notna().all()


def test_a_chance_that_is_negligible_is_not_noted(tmp_path: Path) -> None:
    """Of 6 runs in random order 0.28 % agree in full, of 9 one in 180,000."""
    shown = notes(
        report(write(tmp_path, seeds=1, sizes=[(d, s) for d in (1, 2, 3) for s in (500, 2000, 4000)]))
    )
    assert "no intervals" in shown
    assert "random order" not in shown


def test_what_diverged_is_left_out_and_named_and_what_waits_is_counted(tmp_path: Path) -> None:
    write(tmp_path)
    change(tmp_path, (3, 4000), 0, {"state": "diverged", "diverged_at_step": 7})
    change(tmp_path, (1, 500), 1, None)
    found = report(tmp_path)
    assert list(found.table["seeds"]) == [2, 3, 3, 3, 3, 2]
    shown = notes(found)
    assert "left out, diverged: depth 3 x 4000 steps, seed 0" in shown
    assert "provisional: 1 of 18 trainings not finished yet" in shown
    assert "no interval where a run lacks a seed" in shown
    assert found.table["val_loss_low"].isna().tolist() == [True, False, False, False, False, True]
    assert found.laws["alpha_low"].notna().all()


def test_a_size_whose_seeds_all_diverged_has_no_row(tmp_path: Path) -> None:
    write(tmp_path)
    for seed in range(3):
        change(tmp_path, (2, 500), seed, {"state": "diverged", "diverged_at_step": 7})
    found = report(tmp_path)
    assert len(found.table) == 5
    assert "left out, diverged: depth 2 x 500 steps, seed 0, depth 2 x 500 steps, seed 1" in notes(found)


def test_sizes_of_earlier_stages_are_those_of_the_last(tmp_path: Path) -> None:
    write(tmp_path / "staged", sizes=[(1, 500), (2, 500)])
    plan = json.loads((tmp_path / "staged/grid.json").read_text())
    for each in plan["recipes"]:
        each["recipe"]["init"] = {"weights": "ema", "cell": {"model": dict(each["recipe"]["model"])}}
    (tmp_path / "staged/grid.json").write_text(json.dumps(plan))
    assert scaling.is_scaling(run.read(tmp_path / "staged"))


def test_which_runs_are_scaling_experiments(tmp_path: Path, whole: Path) -> None:
    assert scaling.is_scaling(run.read(whole))
    assert not scaling.is_scaling(run.read(write(tmp_path / "one", sizes=[(1, 500)])))
    write(tmp_path / "other", sizes=[(1, 500), (2, 500)])
    plan = json.loads((tmp_path / "other/grid.json").read_text())
    plan["recipes"][0]["recipe"]["training"]["batch"] = 8
    (tmp_path / "other/grid.json").write_text(json.dumps(plan))
    assert not scaling.is_scaling(run.read(tmp_path / "other"))
    with pytest.raises(
        UserError,
        match=r"differ in more than depth .* \(training.batch 8 and 64\): .*--where training.batch=8",
    ):
        report(tmp_path / "other")


def test_several_formulations_or_datasets_are_refused_with_a_way_out(tmp_path: Path) -> None:
    write(tmp_path, ("rf", "v/cos"), datasets=("a", "b"), seeds=1)
    with pytest.raises(UserError, match=r"2 formulations \(rf, v/cos\).* --where formulation=rf"):
        report(tmp_path)
    with pytest.raises(UserError, match=r"2 datasets \(a, b\).* --where dataset=a"):
        report(tmp_path, "formulation=rf")
    assert report(tmp_path, "formulation=rf", "dataset=b").runs.dataset == "b"


def test_weights_of_milestones_are_refused_as_the_compute_is_that_of_whole_trainings(tmp_path: Path) -> None:
    write(tmp_path, seeds=1, weights=("ema", "ema@0.5"))
    assert scaling.is_scaling(run.read(tmp_path))
    with pytest.raises(UserError, match=r"ema@0\.5 are weights of a part of one"):
        report(tmp_path, "weights=ema@0.5")


def test_one_size_or_nothing_finished_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"one size only \(depth 2, 500 steps\)"):
        report(write(tmp_path / "one", sizes=[(2, 500)]))
    some = write(tmp_path / "some", seeds=1)
    for size in SIZES[1:]:
        change(some, size, 0, None)
    with pytest.raises(UserError, match="one size only of 6 planned sizes"):
        report(some)
    with pytest.raises(UserError, match=r"no finished training \(18 pending\)"):
        report(write(tmp_path / "none", status=lambda *_: "pending"))


def test_a_table_without_recipes_is_refused_and_one_with_them_read(tmp_path: Path, whole: Path) -> None:
    frame = run.read(whole).frame
    one = frame[frame["recipe"] == frame["recipe"].iloc[0]]
    one.drop(columns="recipe").to_csv(tmp_path / "bare.csv", index=False)
    with pytest.raises(UserError, match="rows without recipe"):
        report(tmp_path / "bare.csv")
    frame.drop(columns="val_loss").to_parquet(tmp_path / "lossless.parquet")
    with pytest.raises(UserError, match="rows without val_loss"):
        report(tmp_path / "lossless.parquet")
    one.assign(recipe="depth 3").to_parquet(tmp_path / "words.parquet")
    with pytest.raises(UserError, match="the recipe 'depth 3', which is no JSON object"):
        report(tmp_path / "words.parquet")
    frame.drop(columns="cell").assign(val_loss=np.nan).to_parquet(tmp_path / "nan.parquet")
    with pytest.raises(UserError, match=r"no finished training \(18 without a validation loss\)"):
        report(tmp_path / "nan.parquet")
    frame.to_parquet(tmp_path / "table.parquet")
    assert report(tmp_path / "table.parquet").table.equals(report(whole).table)
