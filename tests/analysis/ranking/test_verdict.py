"""The answer of a run: when it is decided, between which formulations it is not, and what is advised."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.ranking import ranking as rankings
from analysis.ranking import verdict
from analysis.ranking.smallest_gap import REACH
from analysis.ranking.verdict import Answer, Forecast, terminal
from analysis.runs import run, synthetic, timings

from ..rankings import SIX, provisional, ranking, resolution


def found(needed: int | None = 11, **more: Any) -> Answer:
    made = verdict.answer(ranking(resolution=(resolution("rank", 0.78, 1.6, needed),), **more))
    assert made is not None
    return made


def test_a_leader_that_is_alone_is_decided() -> None:
    made = found(tied=(True, *(False,) * 5))
    assert (made.state, made.tied, made.forecast) == ("decided", (SIX[0],), None)
    assert terminal(made) == (
        "Decided: rf/lognorm(0.00,1.00) is better than all 5 others (3 seeds, family-wise 95 %)."
    )


def test_the_tied_are_named_with_the_seeds_that_would_probably_decide() -> None:
    made = found()
    assert (made.state, made.cause, made.tied) == ("undecided", "tied", tuple(SIX[:4]))
    assert terminal(made) == (
        "Undecided between rf/lognorm(0.00,1.00), eps/linear, edm(-1.20,1.20) and rf/mode(1.29); "
        "11 seeds would probably decide."
    )
    assert terminal(found(tied=(True,) * 6)).startswith(
        "Undecided between all 6 formulations (rf/lognorm(0.00,1.00) leads); 11 seeds"
    )


def test_more_seeds_are_advised_than_there_are() -> None:
    made = found(needed=2)
    assert made.forecast is not None
    assert made.forecast.seeds == 4


def test_where_seeds_cannot_be_expected_to_decide_some_may_be_equal() -> None:
    made = found(needed=None)
    assert made.forecast is None
    assert terminal(made).endswith(
        ": some of them may be equal, as more than 1,000 seeds would be needed to decide."
    )


def test_many_more_seeds_than_there_are_are_no_advice() -> None:
    assert terminal(found(needed=3 * REACH)).endswith("; 30 seeds would probably decide.")
    assert terminal(found(needed=3 * REACH + 1)).endswith(
        ": some of them may be equal, as about 31 seeds would be needed to decide."
    )
    assert terminal(found(needed=598, tied=(True, True, *(False,) * 4))) == (
        "Undecided between rf/lognorm(0.00,1.00) and eps/linear: they may be equal, as about 598 seeds would be needed to "
        "decide."
    )


def test_level_leaders_are_not_decided_by_more_seeds() -> None:
    made = found(tied=(True, True, False, False, False, False), ranks=(1.5, 1.5, 2, 2.5, 3, 3.5))
    assert (made.cause, made.leaders, made.forecast) == ("level", tuple(SIX[:2]), None)
    assert "as they are level" in terminal(made)


def test_one_seed_decides_nothing() -> None:
    made = found(seeds=1)
    assert (made.state, made.tied) == ("one seed", ())
    assert terminal(made) == (
        "One seed cannot decide: rf/lognorm(0.00,1.00) leads; 3 seeds would show how firm that is."
    )


def test_one_seed_of_one_dataset_is_not_one_seed(tmp_path: Path) -> None:
    options = {"seeds": 3, "samples": 8, "datasets": ("shapes", "digits"), "weights": ("ema",)}
    made = synthetic.write(tmp_path, synthetic.truth(["rf", "v/cos"], 0.0), **options)
    about = run.read(made)
    frame = about.frame
    about = replace(about, frame=frame[(frame["dataset"] == "shapes") | (frame["seed"] == 0)])
    found = verdict.answer(rankings.rank(about), about)
    assert found is not None
    assert (found.state, found.cause, found.fewest, found.seeds) == ("undecided", "unknown", 1, 3)
    shown = terminal(found)
    assert "the noise of seeds is unknown (one seed of digits)" in shown
    assert shown.endswith("--seeds 3` would show that.")


def test_equal_fronts_in_all_seeds_are_decided_by_the_metrics_of_the_fronts_or_not() -> None:
    still = resolution("rank", 1.0, 0.0, 2, sigma=0.0)
    found = ranking(tied=(True, *(False,) * 5), resolution=(still,))
    unknown = pd.Series(pd.NA, index=found.counts.index, dtype="boolean")
    columns = {**found.columns, "rank_all": replace(found.columns["rank_all"], tied=unknown)}
    made = verdict.answer(replace(found, columns=columns))
    assert made is not None
    assert made.state == "decided"
    both = pd.Series([True, True, *[False] * 4], index=found.counts.index, dtype="boolean")
    columns["fid"] = replace(columns["fid"], tied=both)
    made = verdict.answer(replace(found, columns=columns))
    assert made is not None
    assert (made.state, made.cause) == ("undecided", "no noise")
    assert "in all seeds alike" in terminal(made)


def test_a_leader_without_a_comparison_is_not_decided() -> None:
    made = found(tied=(None, True, False, False, False, False))
    assert (made.state, made.cause) == ("undecided", "incomplete")
    unknown = verdict.answer(ranking(tied=(None,) * 6))
    assert unknown is not None
    assert (unknown.state, unknown.cause) == ("undecided", "incomplete")


def test_an_unfinished_run_is_so_far() -> None:
    made = found(tied=(True, *(False,) * 5), provisional=provisional())
    assert terminal(made).startswith("Decided so far (12 of 18 cells): ")


def test_one_formulation_has_no_rival() -> None:
    assert verdict.answer(ranking(["rf"], (1.0,), (True,))) is None


@given(marks=st.lists(st.sampled_from([True, False, None]), min_size=6, max_size=6), seeds=st.integers(1, 5))
def test_decided_means_that_the_leader_alone_is_marked(marks: list[bool | None], seeds: int) -> None:
    made = found(tied=tuple(marks), seeds=seeds)
    alone = marks[0] is True and True not in marks[1:]
    assert (made.state == "decided") == (alone and seeds > 1)
    assert (made.state == "one seed") == (seeds == 1)


# ---- the command and its price


def folder(path: Path, command: Sequence[str] = ("--seeds", "2"), **options: Any) -> run.Run:
    options = {"seeds": 2, "weights": ("ema",), "samples": 4, **options}
    made = synthetic.write(path, synthetic.truth(["rf", "v/cos", "edm(-1.20,1.20)"], 0.0), **options)
    plan = json.loads((made / "grid.json").read_text())
    (made / "grid.json").write_text(json.dumps(plan | {"command": list(command)}))
    return run.read(made)


def spent(about: run.Run, **seconds: float) -> run.Run:
    (about.path / "timings.json").write_text(json.dumps(seconds))
    return about


def test_the_price_of_a_seed_is_what_its_cells_took(tmp_path: Path) -> None:
    about = folder(tmp_path)  # a minute of training and one of measuring for each of three cells
    assert timings.seconds_per_seed(about) is None, "nothing says how many workers were busy"
    assert timings.seconds_per_seed(spent(about, train=300, generate=60, total=360)) == 360
    assert timings.seconds_per_seed(spent(about, train=600, generate=120, total=360)) == 180
    assert timings.seconds_per_seed(spent(about, train=1, total=360)) == 360


def test_a_pack_shares_its_seconds(tmp_path: Path) -> None:
    about = spent(folder(tmp_path), train=1, total=1)
    for status in about.path.glob("cells/*/status.json"):
        kept = json.loads(status.read_text())
        kept["training"] |= {"pack": 3, "seconds": 90.0}
        status.write_text(json.dumps(kept))
    assert timings.seconds_per_seed(about) == 3 * (30 + 60)


@pytest.mark.parametrize("broken", ["", "[]", '{"training": {"seconds": "long"}}'])
def test_a_damaged_status_leaves_the_price_out(broken: str, tmp_path: Path) -> None:
    about = spent(folder(tmp_path), train=1, total=1)
    for status in about.path.glob("cells/*/status.json"):
        status.write_text(broken)
    assert timings.seconds_per_seed(about) is None


def test_the_advised_command_is_the_runs_own_with_more_seeds(tmp_path: Path) -> None:
    given = (
        "--out",
        "a folder",
        "--seeds=2",
        "--formulations",
        "rf",
        "v/cos",
        "--minutes",
        "4",
        "--seeds",
        "2",
    )
    about = spent(folder(tmp_path, given), train=1, total=1)
    made = verdict.answer(rankings.rank(about), about)
    assert made is not None
    assert made.forecast is not None
    assert made.forecast.options is not None
    assert made.forecast.options[:-1] == ("--out", "a folder", "--formulations", "rf", "v/cos", "--seeds")
    assert made.forecast.seconds == 360.0 * (made.forecast.seeds - 2)
    shown = terminal(made)
    command = shlex.split(shown[shown.index("`") + 1 : shown.rindex("`")])
    assert command == ["python", "-m", "bench.grid", *made.forecast.options]


def test_a_bare_table_has_no_command(tmp_path: Path) -> None:
    about = folder(tmp_path)
    about.frame.to_parquet(tmp_path / "bare.parquet")
    bare = run.read(tmp_path / "bare.parquet")
    made = verdict.answer(rankings.rank(bare), bare)
    assert made is not None
    assert made.forecast is None or (made.forecast.options, made.forecast.seconds) == (None, None)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (40, "less than a minute"),
        (61, "about 1 minute"),
        (840, "about 14 minutes"),
        (5400, "about 90 minutes"),
        (12_600, "about 3.5 hours"),
        (36_000, "about 10 hours"),
        (1e6, "about 12 days"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert verdict.duration(seconds) == words
    advised = replace(found(), forecast=Forecast(12, seconds, ("--seeds", "12")))
    assert f"; `python -m bench.grid --seeds 12` ({words} more) would probably decide." in terminal(advised)
