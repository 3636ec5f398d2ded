"""Stages in plans: their text, their cells, the worker that trains each, and what waits for what."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from pathlib import Path

import pytest

from bench.cli.parser import parse
from bench.config.experiment import Cell, Grid, Images, Init, Training
from bench.config.identity import full, restore
from bench.config.stages import first, follow, texts
from bench.driver.plan_files import recipe
from bench.driver.wait import followers
from bench.launch import activities
from bench.planning import plan, shares
from bench.planning.cells import cells_of
from bench.planning.plan import Plan
from bench.planning.requirements import by_cell
from bench.runfolder.manifest import Recipe
from bench.worker import provenance
from flowbench._core import atomic
from flowbench._core.errors import UserError

from ..conftest import TINY
from ..run_folders import begin

GRID = replace(TINY, seeds=2)
TWO = reduce(follow, ["steps=6,lr=1e-3,betas=0.9,0.95", "dataset=scenes,train-images=48,weights=raw"], GRID)


def test_the_text_of_stages_gives_them_back() -> None:
    assert reduce(follow, texts(TWO), first(TWO)) == TWO
    assert first(TWO) == GRID
    assert restore(Grid, full(TWO)) == TWO
    assert TWO.datasets == ("scenes",)
    assert [stage.dataset for stage in TWO.earlier] == ["shapes", "shapes"]
    assert TWO.training == replace(GRID.training, steps=6, lr=1e-3, betas=(0.9, 0.95))


def test_cells_build_on_their_formulation_and_seed() -> None:
    cells = cells_of(TWO)
    assert len(cells) == len(cells_of(GRID))
    for cell in cells:
        assert cell.init
        assert cell.init.weights == "raw"
        middle = cell.init.cell
        assert [c.training.steps for c in cell.ancestors] == [12, 6]
        assert [c.dataset for c in (*cell.ancestors, cell)] == ["shapes", "shapes", "scenes"]
        assert [c.images.train for c in (*cell.ancestors, cell)] == [96, 96, 48]
        assert {(c.formulation, c.seed) for c in cell.ancestors} == {(cell.formulation, cell.seed)}
        assert middle.init
        assert middle.init.weights == "ema"
        assert restore(Cell, full(cell)) == cell
    roots = {cell.ancestors[0].id for cell in cells}
    assert roots == {cell.id for cell in cells_of(GRID)}, "a first stage is the plain training"


def test_a_parent_is_part_of_the_identity_and_of_the_recipe() -> None:
    root, other = Cell("rf", "shapes"), Cell("rf", "shapes", training=Training(steps=9))
    cells = [replace(root, init=init) for init in (None, Init(root), Init(root, "raw"), Init(other))]
    assert len({cell.id for cell in cells}) == len({str(cell.recipe) for cell in cells}) == 4
    assert "init" not in full(root)
    on_other = replace(root, dataset="scenes", init=Init(root))
    both = replace(root, dataset="scenes", init=Init(replace(root, dataset="scenes")))
    assert on_other.recipe != both.recipe, "two datasets, or one"
    assert cells[1].recipe == both.recipe, "one dataset in both stages, whichever"
    names = [replace(Cell(f, "shapes", init=Init(Cell(f, "shapes"))), seed=0) for f in ("rf", "v/cos")]
    assert names[0].alike == names[1].alike
    assert names[0].recipe == names[1].recipe


@pytest.mark.parametrize("slots", [1, 2, None])
def test_a_worker_has_a_cell_after_the_parents_of_its_own(slots: int | None, tmp_path: Path) -> None:
    made = plan.make(TWO, tmp_path)
    assert len(made.ready()) == 3 * len(made.cells)
    divided = shares.divide(made, slots, 2, canary=False)
    assert sorted(p.cell.id for part in divided for p in part) == sorted(p.cell.id for p in made.ready())
    for part in divided:
        seen: set[str] = set()
        for p in part:
            assert {cell.id for cell in p.cell.ancestors} <= seen
            seen.add(p.cell.id)
    if slots is None:
        assert [len(part) for part in divided] == [3, 6, 3, 6], "three formulations of a seed in packs of 2"


def test_a_parent_is_trained_and_not_measured(tmp_path: Path) -> None:
    look = by_cell(TWO)
    made = plan.make(TWO, tmp_path)
    assert all(p.parent for p in made.parents)
    assert not any(p.parent for p in made.cells)
    assert all(look(p.cell).training > 0 and not look(p.cell).generation for p in made.parents)
    assert all(look(p.cell).generation for p in made.cells)


def test_a_parent_is_trained_for_a_cell_that_is_not() -> None:
    made = plan.make(follow(follow(GRID, "steps=6"), "steps=5"), Path("nowhere"))
    first, second = made.parents[: len(made.cells)], made.parents[len(made.cells) :]

    def ready(middle: plan.State, last: plan.State) -> list[int]:
        parents = (*first, *(replace(p, state=middle) for p in second))
        cells = tuple(replace(p, state=last) for p in made.cells)
        return sorted({len(p.cell.ancestors) for p in replace(made, parents=parents, cells=cells).ready()})

    assert ready("missing", "missing") == [0, 1, 2]
    assert ready("done", "missing") == [2]
    assert ready("missing", "trained") == [2]
    assert ready("missing", "done") == ready("missing", "diverged") == []


def test_data_are_compared_with_those_of_cells_that_have_as_many(tmp_path: Path) -> None:
    """Fewer images of a data set are no change of it."""
    cells = {name: {"cell": name, "dataset": "mine"} for name in ("few", "many", "new")}
    atomic.write_json(tmp_path / "grid.json", {"cells": list(cells.values())})
    for name, count in (("few", 48), ("many", 96)):
        cell = Cell("rf", "mine", images=replace(GRID.images, train=count))
        atomic.write_json(tmp_path / "cells" / name / "config.json", {"cell": full(cell)})
    found = provenance.planned_cells(tmp_path, GRID.images)
    assert [(dataset, folder.name) for dataset, folder in found] == [("mine", "many"), ("mine", "new")]


def states(made: Plan) -> list[list[str]]:
    return [[p.state for p in part] for part in (made.parents, made.cells)]


def test_a_cell_waits_for_a_parent_that_another_command_trains(tmp_path: Path) -> None:
    grid = follow(replace(GRID, formulations=("rf", "v/cos"), seeds=1), "steps=6")
    submission = begin(tmp_path / "run", "1", [[0]], executor="slurm", grid=first(grid))
    made = plan.make(grid, tmp_path / "run")
    activity = activities.Activity(submission, 0, "queued")
    now = activities.overlay(made, [activity])
    assert states(now) == [["queued", "missing"], ["queued", "missing"]]
    assert [[p.cell.formulation for p in chain] for chain in now.chains()] == [["v/cos", "v/cos"]]
    over = replace(made, parents=(replace(made.parents[0], state="done"), made.parents[1]))
    assert followers(over, [activity]) == [over.cells[0].cell.id]
    assert followers(made, [activity]) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("step=3", "a stage has no 'step'; did you mean 'steps'"),
        ("resolution=8", "a stage has no 'resolution'"),
        ("steps=x", "--stage steps=x: a whole number is wanted"),
        ("steps=-1", "--steps -1: must be a finite number greater than 0"),
        ("steps=3,steps=4", "gives steps twice"),
        ("steps", "'steps' is no option=value"),
        ("", "'' is no option=value"),
        ("weights=rw", "--stage weights=rw: did you mean 'raw'"),
        ("betas=0.9", "must be two numbers"),
    ],
)
def test_mistakes_are_one_sentence(text: str, words: str) -> None:
    with pytest.raises(UserError) as error:
        follow(GRID, text)
    assert words in str(error.value)


def test_stages_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="choose one of them"):
        follow(replace(GRID, datasets=("shapes", "scenes")), "dataset=scenes")
    with pytest.raises(UserError, match="--budgets and --stage: choose one"):
        follow(replace(GRID, budgets=(3, 4)), "lr=1e-3")
    with pytest.raises(UserError, match=r"its inputs are \[1, 16, 16\], and a network for the \[3, 16, 16\]"):
        plan.make(follow(GRID, "dataset=digits"), tmp_path)
    with pytest.raises(UserError, match="no objective is called 'flaw'"):
        plan.make(follow(GRID, "objective=flaw"), tmp_path)
    assert follow(GRID, "train-images=7").images == replace(GRID.images, train=7) != Images()


def test_stages_of_two_options_follow_each_other(tmp_path: Path) -> None:
    once = parse(["--preset", "smoke", "--stage", "steps=2", "lr=1e-4", "--out", str(tmp_path)]).grid
    assert (
        parse(["--preset", "smoke", "--stage", "steps=2", "--stage", "lr=1e-4", "--out", str(tmp_path)]).grid
        == once
    )
    assert len(once.earlier) == 2


def test_the_operations_of_a_training_are_those_of_all_its_stages() -> None:
    (cell, *_), look = cells_of(follow(GRID, "steps=6")), by_cell(GRID)
    parts = [look(each).steps for each in (*cell.ancestors, cell)]
    assert len(parts) == 2
    found = recipe(cell, GRID.evaluation, look)
    assert (found.train_flops, found.earlier_flops) == (sum(parts), parts[0])
    assert found.flops_at(3) == parts[0] + parts[1] / 2
    assert Recipe.of(found.json()) == found


def planned(*options: str) -> Grid:
    """What a command with the options plans. Raises `UserError`."""
    grid = parse(["--preset", "smoke", *options, "--out", "nowhere"]).grid
    return plan.make(grid, Path("nowhere")).grid


def test_milestones_are_those_of_every_stage_or_of_the_last() -> None:
    every = planned("--milestones", "0.5", "--stage", "steps=4", "--weights", "ema", "ema@0.5")
    assert (every.earlier[0].training.milestones, every.training.milestones) == ((0.5,), (0.5,))
    last = planned("--stage", "steps=4,milestones=0.25,0.5", "--weights", "ema", "ema@0.5")
    assert (last.earlier[0].training.milestones, last.training.milestones) == ((), (0.25, 0.5))
    assert reduce(follow, texts(last), first(last)) == last


@pytest.mark.parametrize(
    ("options", "instead"),
    [
        ((), "--milestones 0.5"),
        (("--stage", "steps=4"), "milestones=0.5 to the last --stage"),
        (("--milestones", "0.5", "--stage", "milestones=0.25"), "milestones=0.25,0.5 to the last --stage"),
    ],
)
def test_weights_that_the_last_stage_does_not_keep_are_refused(
    options: tuple[str, ...], instead: str
) -> None:
    with pytest.raises(UserError) as error:
        planned(*options, "--weights", "ema", "raw@0.5")
    assert str(error.value) == f"--weights raw@0.5: the training does not keep them, add {instead}"
