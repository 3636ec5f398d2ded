"""The study's claims, judged on tables with known answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import claims
from analysis.runs import run, schema, sources, synthetic
from analysis.runs.run import Run
from flowbench._core.errors import UserError

COLUMNS = ("formulation", "dataset", "seed", "weights", "steps", "cfg", "clip", "fid", "status")
HEADLINE = (claims.BEST, claims.MODE, claims.STRAIGHT, claims.BEFORE, *claims.OTHERS)
USUAL = dict(zip(HEADLINE, (10.0, 11.0, 13.0, 14.0, 15.0, 16.0), strict=True))


def study(levels: dict[str, float], few: dict[str, float] | None = None, seeds: int = 8, **gone: Any) -> Run:
    """FID by formulation at 50 steps, times ``few`` at 5; every value has 1 % of noise. ``gone`` seeds diverged."""
    rng = np.random.default_rng(0)
    rows = [
        {"formulation": name, "dataset": "digits", "seed": seed, "weights": "ema", "steps": steps, "cfg": 5.0}
        | {"clip": 50.0, "fid": float(level * factor * np.exp(0.01 * rng.normal())), "status": "done"}
        for name, level in levels.items()
        for seed in range(seeds)
        for steps, factor in ((5, (few or {}).get(name, 1.5)), (50, 1.0))
    ]
    frame = pd.DataFrame(rows)
    for name, seed in gone.items():
        lost = (frame["formulation"] == name) & (frame["seed"] == seed)
        frame.loc[lost, ["fid", "clip", "status"]] = [np.nan, np.nan, "diverged"]
    path = Path("made.csv")
    checked = schema.check(frame)
    return Run(checked.frame, checked.metrics, path=path, manifests=(), source=sources.of(path))


def verdicts(found: Run) -> list[str]:
    return [judged.verdict for judged in claims.judge(found)]


def test_the_study_as_it_reports_itself() -> None:
    levels = USUAL | {claims.STRAIGHT: 15.0, claims.BEFORE: 12.0}
    few = dict.fromkeys(HEADLINE, 1.5) | {claims.BEFORE: 2.0} | dict.fromkeys(claims.OTHERS, 1.8)
    assert verdicts(study(levels, few)) == ["held", "held", "held"]


@pytest.mark.parametrize(
    ("levels", "few", "expected"),
    [
        (USUAL, {}, ["held", "refuted", "undecided"]),  # rf beats eps/linear
        (USUAL | {claims.MODE: 9.0}, {}, ["refuted", "refuted", "undecided"]),
        (dict.fromkeys(HEADLINE, 10.0), {}, ["undecided", "undecided", "undecided"]),
        (USUAL | {claims.BEFORE: 12.0}, {claims.STRAIGHT: 2.0}, ["held", "held", "refuted"]),
    ],
)
def test_each_claim_can_be_held_refuted_and_undecided(
    levels: dict[str, float], few: dict[str, float], expected: list[str]
) -> None:
    assert verdicts(study(levels, few)) == expected


def test_three_seeds_decide_nothing_and_a_diverged_seed_holds_nothing() -> None:
    assert verdicts(study(USUAL, seeds=3)) == ["undecided"] * 3
    assert verdicts(study(USUAL, seeds=8, **{claims.STRAIGHT: 1}))[0] == "undecided"


def test_evidence_is_the_difference_in_percent() -> None:
    (judged, *_) = claims.judge(study(USUAL))
    found = {e.of: e for e in judged.evidence}
    rf = found[f"FID of {claims.STRAIGHT} against {claims.BEST}"]
    assert rf.low < 30.0 < rf.high
    assert rf.estimate == pytest.approx(30.0, abs=1.0)
    assert rf.seeds == 8
    assert "diverged" not in claims.evidence([judged]).cells.to_string()


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (["held"], "held"),
        (["held", "held", "undecided"], "held"),
        (["held", "undecided", "undecided"], "undecided"),
        (["refuted", "refuted"], "refuted"),
        (["held", "held", "refuted"], "mixed"),
        (["undecided"], "undecided"),
    ],
)
def test_a_claim_as_a_whole(of: list[Any], expected: str) -> None:
    assert claims.overall(of) == expected


def test_a_table_has_a_row_for_each_claim_and_a_column_for_each_run() -> None:
    usual, other = study(USUAL), study(USUAL | {claims.MODE: 9.0})
    shapes = [replace(judged, run="shapes") for judged in claims.judge(other)]
    made = claims.table([*claims.judge(usual), *shapes])
    assert list(made.cells) == ["claim", "made.csv", "shapes", "all"]
    assert made.cells.iloc[0].tolist()[1:] == ["held", "refuted", "mixed"]
    assert len(made.cells) == 3
    assert len(made.frame) == 9


def test_runs_of_one_name_have_their_paths_as_headings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    named = ("a/run", "b/run")
    for folder in map(Path, named):
        folder.mkdir(parents=True)
        study(USUAL).frame.to_parquet(folder / "results.parquet")
    assert claims.main([*named, "--verdicts", "--format", "md"]) == 0
    (header,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("| claim "))
    assert [cell.strip() for cell in header.split("|")[2:4]] == list(named)


def test_a_run_without_the_headline_formulations_is_refused() -> None:
    with pytest.raises(UserError, match="lacks v/cos"):
        claims.judge(study({name: 1.0 for name in HEADLINE if name != "v/cos"}))


def changed(found: Run, frame: pd.DataFrame) -> Run:
    return replace(found, frame=schema.check(frame[list(COLUMNS)].copy()).frame)


def test_data_sets_are_judged_by_themselves() -> None:
    usual, other = study(USUAL), study(USUAL | {claims.MODE: 9.0})
    both = changed(usual, pd.concat([usual.frame, other.frame.assign(dataset="shapes")]))
    assert [j.run for j in claims.judge(both)] == ["made.csv, digits"] * 3 + ["made.csv, shapes"] * 3
    assert verdicts(both) == verdicts(usual) + verdicts(other)


def test_a_seed_without_one_of_two_settings_is_not_counted() -> None:
    found = study(USUAL)
    gone = (found.frame["seed"] == 3) & (found.frame["steps"] == 5)
    for lost, seeds in ((gone, 7), (gone & (found.frame["formulation"] == claims.BEFORE), 7)):
        few = claims.judge(changed(found, found.frame[~lost]))[2]
        assert few.evidence[0].seeds == seeds


def test_an_fid_without_logarithm_is_refused() -> None:
    found = study(USUAL)
    with pytest.raises(UserError, match="not positive"):
        claims.judge(changed(found, found.frame.assign(fid=found.frame["fid"] - found.frame["fid"].min())))


def test_a_frontier_of_one_run_decides_nothing(tmp_path: Path) -> None:
    """The cheapest run has the smallest loss."""
    sizes = [(depth, 1000) for depth in (1, 2, 3)]
    synthetic.write(tmp_path, synthetic.truth(("rf",), noise=0.01), sizes=sizes, settings=((50, 5.0),))
    found = run.read(tmp_path)
    rising = found.frame.assign(val_loss=1 / found.frame["val_loss"])
    (judged,) = claims.judge(replace(found, frame=rising))
    assert judged.verdict == "undecided"
    assert not any("frontier" in e.of for e in judged.evidence)


def test_scaling_is_judged_by_losses(tmp_path: Path) -> None:
    sizes = [(depth, steps) for depth in (1, 2, 3) for steps in (1000, 2000, 4000)]
    truth = synthetic.truth(("rf/lognorm(0.00,1.00)",), noise=0.01)
    synthetic.write(tmp_path, truth, sizes=sizes, settings=((50, 5.0),), weights=("ema",))
    (judged,) = claims.judge(run.read(tmp_path))
    assert judged.claim == 4
    assert all(e.seeds == 3 for e in judged.evidence)
    assert len(judged.evidence) == 5
