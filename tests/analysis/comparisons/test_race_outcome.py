"""A run that was a race: the ranking is over the seeds that all have, and everything else is shown next to it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.comparisons import baseline, race_outcome
from analysis.rank import tables_of
from analysis.ranking import ranking
from analysis.ranking.smallest_gap import REACH
from analysis.report import contents, page
from analysis.runs import run, synthetic
from analysis.runs.synthetic import Truth
from analysis.tables import output

NAMES, EARLY, LATE = ("best", "close", "poor"), 6, 9


def raced(folder: Path, quality: tuple[float, ...] = (1.0, 0.0, -4.0), **options: object) -> run.Run:
    """``poor`` is out after 6 of 9 seeds."""
    truth = Truth(NAMES, quality, noise=0.05)
    synthetic.write(folder, truth, seeds=LATE, settings=((5, 5.0),), weights=("ema",), **options)  # type: ignore[arg-type]
    file = folder / "grid.json"
    kept = json.loads(file.read_text())
    kept["cells"] = [c for c in kept["cells"] if c["formulation"] != "poor" or c["seed"] < EARLY]
    kept["race"] = {
        "decision": {"metric": "fid", "margin": None},
        "exits": [{"formulation": "poor", "seeds": EARLY, "by": "best"}],
    }
    kept["command"] = ["--until", "decided", "--minutes", "3"]
    file.write_text(json.dumps(kept))
    return run.read(folder)


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> run.Run:
    return raced(tmp_path_factory.mktemp("decided"))


def test_the_ranking_is_over_the_seeds_that_all_have(decided: run.Run) -> None:
    found = ranking.rank(decided)
    assert found.facts.seed_counts == {"synthetic": EARLY}
    assert list(found.counts["settings"]) == [EARLY] * 3
    assert not found.lost.any()
    assert found.facts.provisional is None
    assert {phase: rows["seed"].nunique() for phase, rows in decided.frame.groupby("phase")} == {
        "race": LATE - EARLY,
        "rank": EARLY,
    }


def test_comparisons_use_every_seed_that_both_have(decided: run.Run) -> None:
    found = {c.formulation: c.n for c in baseline.against(decided, "best").of("fid")}
    assert found == {"close": LATE, "poor": EARLY}


def test_standings_name_what_beat_each_that_is_out(decided: run.Run) -> None:
    found = race_outcome.of_run(decided)
    assert found is not None
    assert [(s.formulation, s.seeds, s.out) for s in found.standings] == [
        ("best", LATE, False),
        ("close", LATE, True),
        ("poor", EARLY, True),
    ]
    assert (found.race.decided, found.needed, found.common) == (True, None, EARLY)
    for standing in found.standings[1:]:
        assert standing.rival == found.race.out[standing.formulation].by
        assert standing.against is not None
        assert (standing.against.verdict, standing.against.n) == ("worse", standing.seeds)
    shown = race_outcome.terminal(found)
    assert shown.startswith(
        "Decided: best is the best by FID; both others are beaten (95 % at every look, 9 seeds)"
    )


def test_an_undecided_race_asks_for_the_seeds_that_it_needs(tmp_path: Path) -> None:
    found = race_outcome.of_run(raced(tmp_path, quality=(0.0, 0.0, -4.0)))
    assert found is not None
    assert not found.race.decided
    assert found.needed is not None
    assert found.needed > LATE
    assert found.needed > REACH * LATE
    assert found.forecast is not None
    far = race_outcome.terminal(found)
    assert (
        f"; some that are left may be equal, as about {found.needed} seeds would be needed; a --margin" in far
    )
    assert "`" not in far
    options = ("--until", "decided", "--seeds", "20")
    near = replace(found, needed=20, forecast=replace(found.forecast, seeds=20, options=options))
    shown = race_outcome.terminal(near)
    assert shown.startswith("Undecided between ")
    assert "`python -m bench.grid --until decided --seeds 20`" in shown
    assert "1 formulation beaten" in shown
    assert "--minutes" not in shown


def test_equivalent_ones_end_a_race(tmp_path: Path) -> None:
    of = raced(tmp_path, quality=(0.0, 0.0, -4.0))
    plan = replace(of.manifests[0], race={"decision": {"metric": "fid", "margin": 50.0}, "exits": []})
    found = race_outcome.of_run(replace(of, manifests=(plan,)))
    assert found is not None
    assert "are equivalent by FID within ±50 %" in race_outcome.terminal(found)


def test_what_diverged_is_out_and_not_called_beaten(tmp_path: Path) -> None:
    found = race_outcome.of_run(
        raced(
            tmp_path, status=lambda name, dataset, seed: "diverged" if (name, seed) == ("poor", 1) else None
        )
    )
    assert found is not None
    assert found.race.out["poor"].by is None
    assert "out: seeds without a value" in output.write([race_outcome.table(found)])
    undecided = race_outcome.of_run(
        raced(
            tmp_path,
            quality=(0.0, 0.0, -4.0),
            status=lambda name, dataset, seed: "diverged" if (name, seed) == ("poor", 1) else None,
        )
    )
    assert undecided is not None
    shown = race_outcome.terminal(undecided)
    assert "1 formulation out with seeds without a value" in shown
    assert "beaten" not in shown


def test_a_race_that_none_can_win_any_more_ends(tmp_path: Path) -> None:
    lost = dict(zip(NAMES, range(3), strict=True))
    found = race_outcome.of_run(
        raced(tmp_path, status=lambda name, _, seed: "failed" if lost[name] == seed else None)
    )
    assert found is not None
    assert (found.race.decided, found.race.settled) == (False, True)
    assert "each has seeds without a value, so that none can be compared" in race_outcome.terminal(found)
    assert "nan" not in output.write([race_outcome.table(found)])


def test_it_is_printed_below_the_ranking_and_shown_on_the_page(decided: run.Run) -> None:
    names = [t.name for t in tables_of(decided, ranking.rank(decided))]
    assert names == ["ranking", "race"]
    report = contents.read(decided)
    assert report.summary is not None
    assert report.summary.state == "decided"
    html = page.html(report)
    assert 'id="race-title"' in html
    assert "beaten by best" in html
    assert "On the seeds that all have" in html
    assert "--confirm" not in html
    assert "depended on what they showed" in html


def test_a_comparison_that_stopped_by_results_says_so_on_its_page(tmp_path: Path) -> None:
    of = synthetic.write(
        tmp_path, Truth(NAMES, (1.0, 0.95, -4.0), noise=0.05), seeds=6, settings=((5, 5.0),), weights=("ema",)
    )
    file = of / "grid.json"
    kept = json.loads(file.read_text())
    kept |= {"against": {"baseline": "best", "decision": {"metric": "fid", "margin": None}}}
    file.write_text(json.dumps(kept))
    report = contents.read(run.read(of))
    assert report.against is not None
    assert report.summary is not None
    assert "is worse than" not in report.summary.sentence, "a grid's own verdict is the ranking's"
    file.write_text(json.dumps(kept | {"program": "bench.compare"}))
    report = contents.read(run.read(of))
    assert report.summary is not None
    sentence = "poor\ue001 is worse than \ue000best\ue001 by FID"
    assert sentence in report.summary.sentence
    doubts = " ".join(report.verdict.doubts)
    assert "depended on what they showed" in doubts
    assert "--confirm" not in doubts, "which the command does not have"


def test_a_run_without_a_race_has_none(tmp_path: Path) -> None:
    synthetic.write(tmp_path, Truth(NAMES, (1.0, 0.0, -1.0)), settings=((5, 5.0),), weights=("ema",))
    found = run.read(tmp_path)
    assert race_outcome.of_run(found) is None
    assert [t.name for t in tables_of(found, ranking.rank(found))] == ["ranking"]
