"""``--confirm K``: which cells, which seeds, and which formulations once chosen."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from bench import grid
from bench.config.experiment import Grid, Training
from bench.driver import confirm, plan_files, run_summary
from bench.planning import plan
from bench.planning.cells import cells_of
from bench.planning.labels import names
from bench.planning.plan import Plan
from bench.runfolder import submission as submissions
from bench.status import status
from flowbench._core import atomic
from flowbench._core.errors import UserError

from .. import stand_ins
from ..run_folders import put
from ..runs import SMALL

BASE = Grid(formulations=("rf", "eps/linear", "v/cos"), seeds=3, training=Training(steps=1000))
WHY = "not separable from the best"
Group = Callable[..., list[Path]]


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Group:
    """Lets the analysis choose these formulations; returns the folders that it was asked about."""

    def use(*formulations: str) -> list[Path]:
        asked: list[Path] = []

        def found(out: Path) -> tuple[tuple[str, ...], str]:
            asked.append(out)
            return formulations, WHY

        module = ModuleType("analysis.ranking.confirmation")
        module.group = found  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "analysis.ranking.confirmation", module)
        monkeypatch.setattr("analysis.ranking.confirmation", module, raising=False)
        return asked

    return use


def finished(out: Path, made: Grid = BASE) -> Plan:
    """A run folder in which every cell of a grid is finished."""
    for number in range(len(cells_of(made))):
        put(out, number, "diverged" if number == 1 else "done", made)
    planned = plan.make(made, out)
    plan_files.write(planned, ["a", "command"])
    return planned


def test_the_group_runs_on_seeds_that_no_grid_can_have(tmp_path: Path, group: Group) -> None:
    planned, asked = finished(tmp_path), group("v/cos", "rf")
    fresh = confirm.plan(planned, 2)
    assert asked == [tmp_path]
    assert [(p.cell.seed, p.cell.formulation, p.state) for p in fresh.cells] == [
        (seed, name, "missing") for seed in (1000, 1001) for name in ("v/cos", "rf")
    ]
    assert fresh.grid == replace(BASE, formulations=("v/cos", "rf"), seeds=2, first_seed=1000)
    assert fresh.chosen == plan.Chosen(WHY, (0, 1, 2), ("rf", "eps/linear", "v/cos"))
    with pytest.raises(UserError, match="at most 1000"):
        replace(BASE, seeds=1001)


def test_crossed_samplers_are_names_by_then(tmp_path: Path, group: Group) -> None:
    made = replace(BASE, formulations=("rf", "v/cos"), samplers=("cosmap", "uniform"))
    planned, _ = finished(tmp_path, made), group("rf/cosmap", "v/cos")
    fresh = confirm.plan(planned, 1)
    assert (plan.formulations_of(fresh), fresh.grid.samplers) == (("rf/cosmap", "v/cos"), ())


def test_what_was_chosen_stays_chosen(tmp_path: Path, group: Group) -> None:
    planned, _ = finished(tmp_path), group("v/cos", "rf")
    plan_files.write(confirm.plan(planned, 2), ["first"])
    asked = group("eps/linear")
    for seeds in (2, 5, 1):
        again = confirm.plan(planned, seeds)
        assert (again.grid.formulations, again.grid.seeds) == (("v/cos", "rf"), seeds)
        assert again.chosen == plan.Chosen(WHY, (0, 1, 2), ("rf", "eps/linear", "v/cos"))
    assert asked == []


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": 4},
        {"formulations": ("rf", "eps/linear", "v/cos", "edm/rf")},
        {"training": Training(steps=1001)},
        {"evaluation": replace(BASE.evaluation, samples=99)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_grid_chooses_anew(change: dict[str, object], tmp_path: Path, group: Group) -> None:
    planned, _ = finished(tmp_path), group("v/cos", "rf")
    plan_files.write(confirm.plan(planned, 2), [])
    other, asked = finished(tmp_path, replace(BASE, **change)), group("eps/linear")  # type: ignore[arg-type]
    assert confirm.plan(other, 2).grid.formulations == ("eps/linear",)
    assert asked == [tmp_path]


def test_what_is_not_finished_comes_first(tmp_path: Path, group: Group) -> None:
    assert confirm.before(plan.make(BASE, tmp_path / "new")) == "9 of 9 cells of the grid not finished"
    assert confirm.before(finished(tmp_path)) is None
    asked = group("rf")
    for state, number in (("trained", 3), ("stale", 4)):
        folder = tmp_path / "cells" / cells_of(BASE)[number].id
        for file in folder.rglob("*.json"):
            file.unlink()
        put(tmp_path, number, state)
    assert confirm.before(plan.make(BASE, tmp_path)) == "2 of 9 cells of the grid not finished"
    assert asked == []


def test_what_the_folder_does_not_describe_comes_first(tmp_path: Path, group: Group) -> None:
    """The analysis reads the plan of the last command: another one would choose among other formulations."""
    planned, asked = finished(tmp_path), group("rf")
    for other in (
        replace(BASE, formulations=("rf", "v/cos")),
        replace(BASE, evaluation=replace(BASE.evaluation, samples=99)),
    ):
        plan_files.write(plan.make(other, tmp_path), [])
        obstacle = confirm.before(planned)
        assert obstacle is not None
        assert obstacle.endswith("was about other cells or another evaluation")
    (tmp_path / "grid.json").unlink()
    assert confirm.before(planned) is not None
    assert asked == []


@pytest.mark.parametrize(
    ("change", "seeds", "sentence"),
    [
        ({"seeds": 1}, 2, "--confirm needs at least 2 seeds .*: add --seeds 2 or more"),
        ({"formulations": ("rf",)}, 2, "--confirm needs at least 2 formulations to compare"),
        ({"depths": (1, 2)}, 2, "--confirm is for one network, depth and number of steps"),
        ({}, 0, "--confirm 0: choose 1 to 100 fresh seeds"),
        ({}, 101, "--confirm 101: choose 1 to 100 fresh seeds"),
    ],
)
def test_what_cannot_be_confirmed_is_said_before_anything_is_trained(
    change: dict[str, object], seeds: int, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        confirm.check(replace(BASE, **change), seeds)  # type: ignore[arg-type]


def test_a_confirmation_stands_next_to_no_other_configuration(tmp_path: Path, group: Group) -> None:
    """Another extractor or number of samples gives numbers that compare with none of its own."""
    planned, _ = finished(tmp_path), group("rf")
    assert not confirm.discard_other(planned), "there is none"
    plan_files.write(confirm.plan(planned, 2), [])
    for same in ({"formulations": ("rf", "edm/rf")}, {"seeds": 5}, {"samplers": ("cosmap",)}):
        assert not confirm.discard_other(replace(planned, grid=replace(BASE, **same)))
    assert (tmp_path / "confirm.json").exists()
    other = replace(BASE, evaluation=replace(BASE.evaluation, samples=99))
    assert confirm.discard_other(replace(planned, grid=other))
    assert not (tmp_path / "confirm.json").exists()


def test_a_damaged_choice_is_named(tmp_path: Path, group: Group) -> None:
    planned, _ = finished(tmp_path), group("rf")
    for content in ({}, {"grid": [], "chosen": {}}, {"grid": {"formulations": ["rf"]}, "chosen": {"why": 1}}):
        atomic.write_json(tmp_path / "confirm.json", content)
        with pytest.raises(
            atomic.Damaged, match=r"confirm\.json is no plan of a confirmation: delete that file"
        ):
            confirm.plan(planned, 2)


def test_the_status_names_the_fresh_seeds(
    tmp_path: Path, group: Group, capsys: pytest.CaptureFixture[str]
) -> None:
    planned, _ = finished(tmp_path), group("rf")
    fresh = confirm.plan(planned, 1)
    put(tmp_path, 0, "diverged", fresh.grid)
    again = confirm.plan(planned, 1)
    assert names(again.cells, again, 80) == "rf seed 1000"
    assert status.show(again) == 0
    assert "1 cell diverged: rf seed 1000" in capsys.readouterr().out
    assert all(p.state in plan.ENDED for p in plan.make(BASE, tmp_path).cells), (
        "the grid's own are what they were"
    )


def test_it_is_submitted_to_slurm(
    tmp_path: Path, group: Group, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, cluster = tmp_path / "run", stand_ins.install(tmp_path, monkeypatch)
    finished(out)
    group("v/cos", "rf")
    command = [
        "--preset",
        "published",
        "--formulations",
        *BASE.formulations,
        "--datasets",
        "shapes",
        "--seeds",
        "3",
        "--steps",
        "1000",
    ]
    command += ["--out", str(out), "--confirm", "2"]
    assert grid.main([*command, "--executor", "slurm"]) == 0
    assert "submitted 4 cells as job 100 (2 workers)" in capsys.readouterr().out
    assert list(cluster.scripts()) == ["100"]
    (made,) = submissions.all_of(out)
    assert made.grid == confirm.plan(plan.make(BASE, out), 2).grid
    assert sorted(c for share in made.shares for c in share.cells) == sorted(
        c.id for c in cells_of(made.grid)
    )
    assert grid.main([*command, "--status"]) == 0
    assert "4 cells in" in (said := capsys.readouterr().out)
    assert "4 queued" in said


def test_on_slurm_the_grid_is_submitted_first(
    tmp_path: Path, group: Group, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, cluster = tmp_path / "run", stand_ins.install(tmp_path, monkeypatch)
    asked = group("v/cos", "rf")
    command = ["--preset", "published", "--formulations", *BASE.formulations, "--seeds", "3"]
    command += ["--steps", "1000", "--out", str(out), "--confirm", "2", "--executor", "slurm"]
    assert grid.main(command) == 0
    said, noted = capsys.readouterr()
    assert "submitted 9 cells" in said
    assert "the confirmation comes after the grid: 9 of 9 cells of the grid not finished" in noted
    assert len(cluster.scripts()) == 1
    assert asked == []
    (made,) = submissions.all_of(out)
    assert made.grid.first_seed == 0


@pytest.mark.usefixtures("here")
def test_a_confirmation_from_end_to_end(
    tmp_path: Path, group: Group, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reported: list[Plan] = []
    monkeypatch.setattr(run_summary, "report", lambda planned, *given: reported.append(planned) or 0)
    group("eps/linear")
    command = [
        *SMALL,
        "--weights",
        "ema",
        "--settings",
        "2:1",
        "--seeds",
        "2",
        "--out",
        str(tmp_path / "run"),
    ]
    assert grid.main([*command, "--confirm", "2", "--dry-run", "--tflops", "1"]) == 0
    said, noted = capsys.readouterr()
    assert "4 cells: 2 formulations x 1 dataset x 2 seeds" in said
    assert "the confirmation comes after the grid: 4 of 4 cells of the grid not finished" in noted
    assert not (tmp_path / "run").exists()
    assert grid.main([*command, "--confirm", "2"]) == 0, (
        "from an empty folder: the grid, then its confirmation"
    )
    assert [[p.state for p in planned.cells] for planned in reported] == [["done"] * 4, ["done"] * 2]
    assert [p.cell.seed for p in reported[-1].cells] == [1000, 1001]
    before = (tmp_path / "run" / "grid.json").read_bytes()
    capsys.readouterr()
    assert grid.main([*command, "--confirm", "3", "--dry-run", "--tflops", "1"]) == 0
    said = capsys.readouterr().out
    assert "3 cells: 1 formulation x 1 dataset x 3 seeds (1000 to 1002)" in said
    assert f"confirmation: {WHY}" in said
    assert (tmp_path / "run" / "grid.json").read_bytes() == before
    kept = atomic.read_object(tmp_path / "run" / "confirm.json")
    assert kept["command"][-2:] == ["--confirm", "2"]
    made = [(s.grid.first_seed, s.grid.seeds) for s in submissions.all_of(tmp_path / "run")]
    assert sorted(made) == [(0, 2), (1000, 2)], "in one second their names sort by chance"
    assert grid.main([*command, "--confirm", "2"]) == 0
    assert len(submissions.all_of(tmp_path / "run")) == 2, "nothing to run"
    assert grid.main([*command, "--confirm", "2", "--status"]) == 0
    assert "2 cells in " in capsys.readouterr().out
    assert grid.main(command) == 0
    assert atomic.read_object(tmp_path / "run" / "confirm.json") == kept, "next to its own grid"
    assert grid.main([*command, "--samples", "13"]) == 0
    assert not (tmp_path / "run" / "confirm.json").exists()
