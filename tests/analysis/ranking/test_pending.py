"""A ranking while cells are still to come: what is not finished neither ranks last nor lets others win."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.rank import main
from analysis.ranking import ranking
from analysis.ranking.pending import settled
from analysis.runs import synthetic
from analysis.runs.run import read
from flowbench._core.errors import UserError

NAMES = ("rf", "eps/linear", "v/cos")


def write(folder: Path, pending: set[tuple[str, int]], seeds: int = 2) -> Path:
    truth = synthetic.Truth(NAMES, (0.0, 1.0, -1.0))
    return synthetic.write(
        folder, truth, seeds=seeds, samples=8, status=lambda f, d, s: "pending" if (f, s) in pending else None
    )


def test_nothing_pending_changes_nothing(tmp_path: Path) -> None:
    frame = read(write(tmp_path, set())).frame
    same, left = settled(frame)
    assert same is frame
    assert left is None


def test_an_unfinished_seed_is_left_out(tmp_path: Path) -> None:
    frame = read(write(tmp_path, {("rf", 1), ("v/cos", 1)})).frame
    found, left = settled(frame)
    assert left is not None
    assert (left.done, left.cells) == (4, 6)
    assert left.blocks == (("synthetic", 1),)
    assert left.formulations == ()
    assert set(found["seed"]) == {0}
    assert set(found["formulation"]) == set(NAMES)


def test_a_formulation_that_has_not_begun_is_left_out(tmp_path: Path) -> None:
    found, left = settled(read(write(tmp_path, {("rf", 0), ("rf", 1), ("rf", 2)}, seeds=3)).frame)
    assert left is not None
    assert left.formulations == ("rf",)
    assert left.blocks == ()
    assert set(found["seed"]) == {0, 1, 2}


def test_the_ranking_is_that_of_the_finished_part(tmp_path: Path) -> None:
    half = ranking.rank(read(write(tmp_path / "half", {("rf", 1), ("v/cos", 1)})))
    one = ranking.rank(read(write(tmp_path / "one", set(), seeds=1)))
    assert half.value("rank_all").equals(one.value("rank_all"))
    assert not half.lost.any()
    assert half.facts.provisional is not None
    assert half.facts.provisional.done == 4
    assert one.facts.provisional is None


def test_nothing_finished(tmp_path: Path) -> None:
    frame = read(write(tmp_path, {(name, seed) for name in NAMES for seed in (0, 1)})).frame
    with pytest.raises(UserError, match=r"0 of 6 cells are finished, .* nothing can be ranked yet"):
        settled(frame)


def test_the_order_next_to_the_papers_is_marked_as_provisional(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(write(tmp_path, {("rf", 1), ("v/cos", 1)}))
    assert main([folder, "--versus-paper"]) == 0
    assert "\nprovisional: 4 of 6 cells are finished; left out: synthetic seed 1" in capsys.readouterr().out
