"""``--until decided``: which formulations are trained for how long, what the run folder records, how the race continues."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.comparisons import baseline
from analysis.comparisons.baseline import Beaten, Race
from analysis.runs import run
from analysis.runs.schema import Results
from bench import grid as command_line
from bench.cli.parser import parse
from bench.driver import plan_files, race
from bench.planning import plan
from bench.planning.decision import Decision
from bench.planning.plan import Course, Exit
from bench.runfolder import store
from flowbench._core.errors import UserError

from ..runs import SMALL

FID = Decision("fid")
THREE = ("rf", "eps/cos", "v/cos")
RACE = [
    *SMALL, "--formulations", *THREE, "--steps", "2", "--validations", "1", "--compile", "off", "--settings", "2:1",
    "--weights", "ema", "--samples", "8", "--train-images", "32", "--pack", "3", "--until", "decided",
]  # fmt: skip


def test_a_formulation_is_in_the_seeds_before_its_exit() -> None:
    course = Course(FID, (Exit("rf", 2, "v/cos"), Exit("eps/cos", 3, None)))
    assert [course.includes("rf", n) for n in range(4)] == [True, True, False, False]
    assert [course.includes("eps/cos", n) for n in range(4)] == [True, True, True, False]
    assert all(course.includes("v/cos", n) for n in range(4))


def test_an_exit_keeps_its_seeds_and_may_be_taken_back() -> None:
    first = race.exits((), {"a": Beaten("b", 4)}, 4)
    assert first == (Exit("a", 4, "b"),)
    later = race.exits(first, {"c": Beaten(None, 6), "a": Beaten("b", 4)}, 6)
    assert later == (Exit("a", 4, "b"), Exit("c", 6, None))
    assert race.exits(later, {"c": Beaten(None, 6)}, 7) == (Exit("c", 6, None),), "what beat a has diverged"


def test_the_plan_lists_no_cell_of_a_formulation_that_is_out(tmp_path: Path) -> None:
    grid = replace(parse(RACE).grid, seeds=3, first_seed=5)
    planned = plan.make(grid, tmp_path, Course(FID, (Exit("eps/cos", 1, "rf"),)))
    found = [(p.cell.seed, p.cell.formulation) for p in planned.cells]
    assert found == [(5, n) for n in THREE] + [(s, n) for s in (6, 7) for n in ("rf", "v/cos")]
    further = plan.one_more_seed(planned)
    assert [(p.cell.seed, p.cell.formulation) for p in further.cells] == [*found, (8, "rf"), (8, "v/cos")]
    assert further.course == planned.course


def test_only_the_same_race_continues_from_its_record(tmp_path: Path) -> None:
    grid = parse(RACE).grid
    course = Course(Decision("fid", 2.0), (Exit("eps/cos", 2, "rf"),))
    store.prepare(tmp_path, 0o700)
    plan_files.write(plan.make(replace(grid, seeds=4), tmp_path, course), RACE)
    assert race.recorded(grid, tmp_path, course.decision) == course
    for decision in (FID, Decision("fid", 3.0), Decision("clip", 2.0)):
        assert race.recorded(grid, tmp_path, decision) == Course(decision)
    for other in (
        replace(grid, formulations=THREE[:2]),
        replace(grid, first_seed=1),
        replace(grid, evaluation=replace(grid.evaluation, samples=9)),
    ):
        assert race.recorded(other, tmp_path, course.decision) == Course(course.decision)
    for damaged in ("{", "[]", '{"race": 3, "grid": {}}', '{"race": {"exits": [1]}}'):
        (tmp_path / "grid.json").write_text(damaged)
        assert race.recorded(grid, tmp_path, course.decision) == Course(course.decision)


def cells(out: Path) -> set[tuple[str, int]]:
    """Formulations and seeds of the cells that are trained."""
    configs = [json.loads(file.read_text())["cell"] for file in out.glob("cells/*/config.json")]
    return {(c["formulation"], c["seed"]) for c in configs}


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """After 2 seeds rf beats eps/cos, after 4 v/cos; returns the seeds at each look."""
    looks: list[int] = []

    def survivors(read: Results, metric: str = "fid", margin: float | None = None) -> Race:
        rows = read.frame[read.frame["status"] == "done"]
        seeds = rows.groupby("formulation")["seed"].nunique()
        looks.append(int(seeds.max()))
        out = {
            name: Beaten("rf", int(seeds[name]))
            for name, after in (("eps/cos", 2), ("v/cos", 4))
            if seeds.max() >= after
        }
        left = tuple(n for n in THREE if n not in out)
        return Race(metric, margin, 0.05, left, out, {}, len(left) == 1)

    monkeypatch.setattr(baseline, "survivors", survivors)
    return looks


RAN = {("rf", s) for s in range(4)} | {("v/cos", s) for s in range(4)} | {("eps/cos", s) for s in range(2)}


@pytest.mark.usefixtures("here")
def test_a_race_from_end_to_end(
    tmp_path: Path, judged: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    argv = [*RACE, "--out", str(out)]
    assert command_line.main([*argv, "--seeds", "3"]) == 0
    assert judged[:3] == [1, 2, 3]
    assert cells(out) == {(n, s) for n, s in RAN if s < 3}
    printed = capsys.readouterr()
    assert "2 seeds: eps/cos is out, beaten by rf; left: rf, v/cos\n" in printed.out
    assert "Undecided between rf and v/cos by FID" in printed.out
    assert command_line.main([*argv, "--status"]) == 0
    assert "8 cells in" in (status := capsys.readouterr().out)
    assert "8 done" in status
    del judged[:]
    assert command_line.main(argv) == 0, "continues to the end"
    assert judged[:2] == [3, 4]
    assert cells(out) == RAN
    printed = capsys.readouterr()
    assert "Decided: rf is the best by FID; both others are beaten" in printed.out
    kept = json.loads((out / "grid.json").read_text())
    assert kept["race"] == {
        "decision": {"metric": "fid", "margin": None},
        "exits": [
            {"formulation": "eps/cos", "seeds": 2, "by": "rf"},
            {"formulation": "v/cos", "seeds": 4, "by": "rf"},
        ],
    }
    assert (kept["grid"]["seeds"], len(kept["cells"])) == (4, 10)
    found = run.read(out)
    assert dict(found.frame.groupby("seed")["phase"].first()) == {0: "rank", 1: "rank", 2: "race", 3: "race"}
    assert set(found.frame["status"]) == {"done"}
    before = {p: p.stat().st_mtime_ns for p in out.glob("cells/*/*/result.json")}
    assert command_line.main(argv) == 0, "decided: nothing is trained"
    assert {p: p.stat().st_mtime_ns for p in out.glob("cells/*/*/result.json")} == before
    capsys.readouterr()
    assert command_line.main([*argv, "--dry-run", "--tflops", "1"]) == 0
    printed = capsys.readouterr().out
    assert "10 cells: 3 formulations x 1 dataset x 4 seeds" in printed
    assert "race: eps/cos is out after 2 seeds, v/cos is out after 4 seeds" in printed
    assert command_line.main([a for a in argv if a not in ("--until", "decided")] + ["--seeds", "3"]) == 0
    assert cells(out) == RAN | {("eps/cos", 2)}, "a grid without a race has every cell"
    assert "race" not in json.loads((out / "grid.json").read_text())


@pytest.mark.usefixtures("here")
def test_a_race_that_lost_its_record_takes_the_same_course(tmp_path: Path, judged: list[int]) -> None:
    argv = [*RACE, "--out", str(tmp_path / "run")]
    assert command_line.main(argv) == 0
    whole = (tmp_path / "run" / "grid.json").read_text()
    (tmp_path / "run" / "grid.json").unlink()
    assert command_line.main(argv) == 0
    assert cells(tmp_path / "run") == RAN
    assert (tmp_path / "run" / "grid.json").read_text() == whole


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--until", "decided", "--executor", "slurm"], "--until decided is for --executor local"),
        (["--until", "decided", "--confirm", "2"], "--until decided and --confirm: choose one"),
        (["--metric", "clip"], "--metric chooses what decides: add --until decided or --baseline NAME"),
        (["--margin", "2"], "--margin chooses what decides"),
        (["--until", "decided", "--margin", "-1"], "--margin -1: must be a finite number greater than 0"),
        (["--until", "decided", "--margin", "nan"], "greater than 0"),
        (["--baseline", "rf", "--confirm", "2"], "--baseline and --confirm: choose one"),
        (["--baseline", "rf", "--status"], "--baseline does nothing with --status"),
    ],
)
def test_mistakes(argv: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse(argv)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (
            ["--until", "decided", "--depths", "1", "2"],
            "--until decided is for one network, depth and number",
        ),
        (["--until", "decided", "--preset", "architectures"], "--until decided is for one network, depth"),
        (["--baseline", "rf", "--budgets", "2", "3"], "--baseline is for one network, depth and number"),
        (["--baseline", "rf", "--preset", "scaling"], "--baseline is for one network, depth and number"),
        (["--formulations", "rf", "--until", "decided"], "--until decided needs at least 2 formulations"),
        (["--formulations", "rf", "--baseline", "rf"], "--baseline needs at least 2 formulations"),
        (["--formulations", "rf", "v/cos", "--baseline", "eps/cos"], "'eps/cos' is none of the formulations"),
        (["--formulations", "rf", "v/cos", "--baseline", "nonsense"], "nonsense"),
        (["--until", "decided", "--metric", "fad"], "--metric 'fad': did you mean"),
        (["--until", "decided", "--metric", "path_length"], "--metric 'path_length'"),
        (["--until", "decided", "--metric", "composition_all"], "needs the datasets shapes or scenes"),
        (["--baseline", "rf", "--metric", "composition"], "needs the datasets shapes or scenes"),
        (
            ["--until", "decided", "--datasets", "shapes", "--metric", "composition_relation"],
            "datasets scenes",
        ),
        (
            ["--until", "decided", "--metric", "clip", "--extractor", "inception:nothing.pt"],
            "needs an extractor that reads texts",
        ),
    ],
)
def test_mistakes_in_names_are_found_before_anything_is_trained(
    argv: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.main([*argv, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_race_has_no_limit_but_those_given() -> None:
    found = parse(["--until", "decided"])
    assert (found.minutes, found.grid.seeds, found.race) == (None, 1000, FID)
    found = parse(
        ["--until", "decided", "--minutes", "3", "--seeds", "9", "--metric", "clip", "--margin", "2"]
    )
    assert (found.minutes, found.grid.seeds, found.race) == (3, 9, Decision("clip", 2.0))


@pytest.mark.usefixtures("here")
def test_a_baseline_is_compared_below_the_ranking(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [a for a in RACE if a not in ("--until", "decided")]
    assert (
        command_line.main([*argv, "--seeds", "2", "--out", str(tmp_path / "run"), "--baseline", "v/cos"]) == 0
    )
    assert "Against v/cos" in capsys.readouterr().out
