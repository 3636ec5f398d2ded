"""The winner's curse: the formulations that are run again, and how both results are shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from analysis.rank import main
from analysis.ranking import confirmation, ranking, render
from analysis.runs import synthetic
from analysis.runs.run import read
from analysis.tables import output
from analysis.tables.layout import Screen
from flowbench._core.errors import UserError

NAMES = ("rf", "rf/lognorm(0.00,1.00)", "eps/linear", "v/cos")
TRUTH = synthetic.Truth(NAMES, (1.0, 1.05, 0.95, -9.0), noise=0.4)


def write(folder: Path, **options: object) -> Path:
    return synthetic.write(folder, TRUTH, **({"seeds": 3, "samples": 8} | options))


def test_the_group_is_all_that_is_tied_with_the_best(tmp_path: Path) -> None:
    names, why = confirmation.group(write(tmp_path))
    found = ranking.rank(read(tmp_path))
    alike = found.columns["rank_all"].not_separable
    assert set(names) == set(alike.index[alike])
    assert names[0] == found.names[0]
    assert "v/cos" not in names
    assert "over 3 seeds" in why


def test_ranks_that_never_vary_leave_the_leader_and_its_runner_up(tmp_path: Path) -> None:
    truth = synthetic.Truth(("rf", "v/cos", "edm"), (9.0, 0.0, -9.0), noise=0.1)
    names, why = confirmation.group(synthetic.write(tmp_path, truth, seeds=2, samples=8))
    assert names == ("rf", "v/cos")
    assert why == "the best by mean front index and its runner-up, without any difference over 2 seeds"


def test_a_clear_leader_is_run_again_with_its_runner_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ranking.rank(read(write(tmp_path)))
    fronts = found.columns["rank_all"]
    leads = pd.Series(fronts.value.index == found.names[0], index=fronts.value.index, dtype="boolean")
    alone = replace(found, columns={**found.columns, "rank_all": replace(fronts, tied=leads)})
    monkeypatch.setattr(confirmation, "rank", lambda run: alone)
    names, why = confirmation.group(tmp_path)
    assert names == found.names[:2]
    assert why == "the best by mean front index, separable from all others over 3 seeds, and its runner-up"


def test_one_formulation_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    truth = synthetic.Truth(("rf",), (1.0,), noise=0.1)
    with pytest.raises(UserError, match="--confirm needs at least 2 formulations"):
        confirmation.group(synthetic.write(tmp_path, truth, seeds=2, samples=8))


def test_one_seed_gives_no_group(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--confirm needs at least 2 seeds"):
        confirmation.group(write(tmp_path, seeds=1))


def test_no_confirmation(tmp_path: Path) -> None:
    assert confirmation.confirmation(read(write(tmp_path))) is None
    write(tmp_path, first_seed=1000, status=lambda *_: "pending")
    assert confirmation.confirmation(read(tmp_path)) is None


def test_both_are_shown_and_the_ranking_is_not_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path)
    before = ranking.rank(read(tmp_path)).frame()
    write(tmp_path, first_seed=1000, seeds=2)
    run = read(tmp_path)
    assert ranking.rank(run).frame().equals(before)
    found = confirmation.confirmation(run)
    assert found is not None
    assert found.seeds == (1000, 1001)
    assert found.pending == 0
    fresh = run.frame[run.frame["phase"] == "confirm"]
    expected = fresh.groupby("formulation")["clip"].mean()
    for _, row in found.table.iterrows():
        assert row["clip_fresh"] == pytest.approx(expected[row["formulation"]])
    assert found.table["rank_all_fresh"].is_monotonic_increasing
    shown = output.write([render.confirmation_table(found)], screen=Screen(80)).splitlines()
    assert max(map(len, shown)) <= 80
    assert "fresh rank all  fresh CLIP  fresh FID" in shown[2], "fresh numbers stay the longest"
    assert main([str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "Confirmation on fresh seeds" in out
    assert "seeds 1000 to 1001, which had no part in choosing these formulations" in out


def test_an_unfinished_confirmation_says_so(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, first_seed=1000, seeds=2, status=lambda f, d, s: "pending" if s == 1001 else None)
    found = confirmation.confirmation(read(tmp_path))
    assert found is not None
    assert found.pending == 4
    assert found.seeds == (1000,)
    assert "fresh: seed 1000, which" in render.confirmation_table(found).notes[0]


def test_a_formulation_that_is_not_run_again_yet_has_no_part_in_either_rank(tmp_path: Path) -> None:
    write(tmp_path)
    leader = ranking.rank(read(tmp_path)).names[0]
    write(tmp_path, first_seed=1000, status=lambda f, d, s: "pending" if f == leader else None)
    found = confirmation.confirmation(read(tmp_path))
    assert found is not None
    assert found.first.names[0] == leader
    assert leader not in set(found.table["formulation"])
    assert len(found.table) == len(found.first.names) - 1
    others = read(tmp_path).formulations(*set(NAMES) - {leader})
    ranks = ranking.rank(others).value("rank_all")
    for _, row in found.table.iterrows():
        assert row["rank_all_first"] == ranks[row["formulation"]]
