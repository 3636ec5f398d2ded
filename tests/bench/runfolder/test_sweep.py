"""Grids of several depths and budgets: their cells, and everything that must know that cells differ in size."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import grid
from bench.cli.parser import parse
from bench.config.experiment import Cell, Grid, Images, Model, Training
from bench.config.identity import full, restore
from bench.config.presets import preset
from bench.cost import estimate, price, workload
from bench.cost.price import Rates
from bench.driver import describe, run_summary
from bench.machine.threads import Threads
from bench.planning import plan, shares
from bench.planning.cells import cells_of
from bench.planning.labels import label, names, place
from bench.planning.plan import Plan, Planned
from bench.planning.requirements import Requirements, by_cell
from bench.training import tuning
from bench.worker import loop as worker
from bench.worker import real_scores
from flowbench._core import atomic
from flowbench._core.errors import UserError

from ..conftest import CPU, TINY
from ..runs import SMALL, metrics

SWEEP = replace(
    TINY, formulations=("rf", "v/cos"), model=Model(patch=4), depths=(1, 2), budgets=(6, 12), seeds=2
)
NOWHERE = Path("/nonexistent")


def test_every_depth_is_crossed_with_every_budget_in_a_fixed_order() -> None:
    cells = cells_of(SWEEP)
    assert [(c.seed, c.model.depth, c.training.steps, c.formulation) for c in cells] == [
        (s, d, b, f) for s in (0, 1) for d in (1, 2) for b in (6, 12) for f in ("rf", "v/cos")
    ]
    assert len({c.id for c in cells}) == 16


@given(depth=st.integers(1, 9), steps=st.integers(1, 999))
def test_a_cell_of_a_sweep_is_that_of_a_grid_of_its_size(depth: int, steps: int) -> None:
    """Nothing is trained again after a change from one to the other."""
    swept = Grid(formulations=("rf",), depths=(depth, depth + 1), budgets=(steps, steps + 1))
    alone = Grid(formulations=("rf",), model=Model(depth=depth), training=Training(steps=steps))
    assert cells_of(swept)[0].id == cells_of(alone)[0].id


def test_a_single_value_is_no_sweep_and_repeats_are_dropped() -> None:
    once = Grid(depths=(3, 3), budgets=(7,))
    assert once == Grid(model=Model(depth=3), training=Training(steps=7))
    assert (Grid(depths=(3, 2, 3)).depths, Grid(budgets=(9, 9, 8)).budgets) == ((3, 2), (9, 8))


def test_a_sweep_survives_a_submission() -> None:
    assert restore(Grid, full(SWEEP)) == SWEEP


def test_one_value_takes_the_place_of_a_presets_several() -> None:
    usual = preset("scaling")
    depth, steps = (
        parse(["--preset", "scaling", *argv]).grid for argv in (["--depth", "3"], ["--steps", "9"])
    )
    assert (depth.depths, depth.model.depth, depth.budgets) == ((), 3, usual.budgets)
    assert (steps.budgets, steps.training.steps, steps.depths) == ((), 9, usual.depths)
    fewer = parse(["--preset", "scaling", "--depths", "2", "4", "--budgets", "8", "9"]).grid
    assert (fewer.depths, fewer.budgets) == ((2, 4), (8, 9))


def test_the_scaling_preset_spans_two_decades_of_compute() -> None:
    made = preset("scaling")
    assert (len(made.depths) >= 5, len(made.budgets), made.training.decay) == (True, 3, 0.0)
    assert [model.sizes for model in made.models] == [(64 * d, d) for d in made.depths], "the study's rule"
    spent = [by_cell(made)(cell).steps for cell in cells_of(made)]
    assert max(spent) / min(spent) > 100


def planned(made: Grid = SWEEP) -> Plan:
    cells = tuple(Planned(cell, NOWHERE / cell.id, "missing") for cell in cells_of(made))
    return Plan(made, NOWHERE, cells)


def test_cells_of_other_sizes_or_budgets_never_share_a_graph() -> None:
    groups = planned().groups()
    assert len(groups) == 8
    for group in groups:
        assert [p.cell.formulation for p in group] == ["rf", "v/cos"]
        assert len({(p.cell.seed, p.cell.model, p.cell.training) for p in group}) == 1


def test_the_longest_cells_begin_first_where_several_workers_share_them() -> None:
    divided = shares.divide(planned(), 2, None, False)
    assert [(part[0].cell.model.depth, part[0].cell.training.steps) for part in divided] == [
        (d, b) for d in (2, 1) for b in (12, 6) for _ in range(2)
    ]
    (all_of_them,) = shares.divide(planned(), 1, None, False)
    assert all_of_them == list(planned().cells)


def test_requirements_are_those_of_each_cell() -> None:
    look = by_cell(SWEEP)
    for cell in cells_of(SWEEP):
        alone = Requirements(replace(TINY, model=cell.model, training=cell.training), "shapes")
        assert look(cell).shape == alone.shape
        assert (look(cell).training, look(cell).weight_files) == (alone.training, alone.weight_files)


def test_an_estimate_counts_every_size_at_its_own_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "START", 0.0)
    monkeypatch.setattr(Requirements, "reference", 0.0)
    monkeypatch.setattr(Requirements, "encoding", 0.0)
    made = planned(replace(SWEEP, seeds=1))
    asked: list[tuple[int, int]] = []

    def from_timing(work: list[tuple[Requirements, int]], device: str, parts: int) -> tuple[list[Rates], str]:
        asked.extend((requirements.shape.depth, members) for requirements, members in work)
        return [
            Rates(1e6 * requirements.shape.depth, *[1e7 * requirements.shape.depth] * 3)
            for requirements, _ in work
        ], "timed"

    monkeypatch.setattr(price, "from_timing", from_timing)
    found = estimate.estimate(made.cells, [made.cells], made.grid)
    look = by_cell(made.grid)
    seconds = sum(
        (a.training / 1e6 + (sum(a.generation.values()) + a.metrics) / 1e7) / a.shape.depth
        for a in (look(p.cell) for p in made.cells)
    )
    assert found.device_hours * 3600 == pytest.approx(seconds)
    assert (asked, found.how) == ([(1, 2), (2, 2)], "timed")
    assert found.disk_bytes == sum(
        look(p.cell).weight_files + look(p.cell).evaluation_files for p in made.cells
    )

    done = replace(made.cells[0], folder=tmp_path / "done", state="done")
    atomic.write_json(
        done.folder / "status.json", {"training": {"seconds": 4.0, "pack": 2, "device": "a GPU"}}
    )
    asked.clear()
    known = estimate.estimate([done, *made.cells[1:]], [made.cells[1:]], made.grid)
    assert asked == [(2, 2)], "the rate of the others is none of this size"
    assert known.how.startswith("from 1 finished cell of this recipe, on a GPU")
    assert known.how.endswith("; other sizes timed")


def test_the_dry_run_lists_sizes_and_budgets(capsys: pytest.CaptureFixture[str]) -> None:
    argv = [
        "--preset",
        "scaling",
        "--depths",
        "1",
        "3",
        "--budgets",
        "10",
        "30",
        "--dry-run",
        "--tflops",
        "1",
    ]
    assert grid.main(argv) == 0
    said = capsys.readouterr().out
    assert "4 cells: 1 formulation x 1 dataset x 1 seed x 2 depths x 2 budgets" in said
    assert "model: depth 1, 3, width 64, 192, heads 1, 3, patch 4" in said
    assert "training: 10, 30 steps of 8" in said
    assert "operations a training, a factor of 79\n" in said
    assert describe.listed([4]) == "4"


def test_cells_are_called_by_all_in_which_they_differ() -> None:
    made = planned()
    assert label(made.cells[0].cell, SWEEP) == "rf seed 0 depth 1 6 steps"
    assert place(made.cells[0].cell, SWEEP) == "shapes, seed 0, depth 1, 6 steps"
    assert place(Cell("rf", "shapes"), TINY) == "shapes, seed 0"
    assert names(made.cells[:2], made, 200) == "rf seed 0 depth 1 6 steps, v/cos seed 0 depth 1 6 steps"
    assert label(Cell("rf", "shapes"), TINY) == "rf"
    assert label(Cell("rf", "shapes", 1000), replace(TINY, first_seed=1000)) == "rf seed 1000"


def test_real_scores_are_those_of_the_data_and_the_evaluation(tmp_path: Path) -> None:
    usual = real_scores.file(tmp_path, TINY, "shapes")
    for same in (SWEEP, replace(TINY, first_seed=1000), replace(TINY, training=Training(steps=9))):
        assert real_scores.file(tmp_path, same, "shapes") == usual
    for other in (Images(train=97, validation=48), Images(train=96, validation=49)):
        assert real_scores.file(tmp_path, replace(TINY, images=other), "shapes") != usual
    odd = Grid(model=Model(patch=5), images=Images(resolution=15))
    assert real_scores.file(tmp_path, odd, "shapes").parent != usual.parent


def test_a_pack_counts_by_its_operations() -> None:
    made = planned(replace(SWEEP, seeds=1))
    packs = [group[:1] for group in made.groups()]
    found, look = workload.of_packs(packs, made.grid), by_cell(made.grid)
    assert sum(each.training for each in found) == pytest.approx(1)
    assert sum(each.evaluation for each in found) == pytest.approx(1)
    ratio = look(packs[3][0].cell).training / look(packs[0][0].cell).training
    assert found[3].training / found[0].training == pytest.approx(ratio)
    trained = [[replace(packs[0][0], state="trained")], packs[1]]
    assert [each.training for each in workload.of_packs(trained, made.grid)] == [0, 1]
    measured = [[replace(p, state="trained") for p in pack] for pack in packs]
    assert [each.training for each in workload.of_packs(measured, made.grid)] == [0.25] * 4, (
        "nothing to train"
    )


def test_each_size_is_tuned_by_its_own_steps(
    submit_tuned: tuple[worker.Worker, list[tuple[object, ...]]],
) -> None:
    """A size that is trained for long may be compiled, and one of many members be split, where others are not."""
    made, asked = submit_tuned
    cells = [
        p
        for p in planned(replace(SWEEP, seeds=1)).cells
        if p.cell.model.depth == 1 or p.cell.formulation == "rf"
    ]
    groups = Plan(SWEEP, NOWHERE, (*cells, replace(cells[-1], state="trained"))).groups()
    ready = {("shapes", SWEEP.images): Ready()}
    found = made.tune(groups, ready, CPU, Threads(CPU))  # type: ignore[arg-type]
    assert asked == [(1, 12, [(2, 6), (2, 12)]), (2, 12, [(1, 6), (1, 12)])]
    assert [(each.pack, each.compiled) for each in found] == [
        (2, False), (2, False), (1, True), (1, True), (1, False)
    ]  # fmt: skip


class Ready:
    """Stands for a dataset made ready."""

    def shape(self, model: Model) -> object:
        return Requirements(replace(TINY, model=model), "shapes").shape


@pytest.fixture
def submit_tuned(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> tuple[worker.Worker, list[tuple[object, ...]]]:
    """A worker, and what its tuning is asked: depth, longest training, and its groups."""
    from bench.machine.stage_timer import Stages
    from bench.runfolder import submission as submissions
    from bench.runfolder.submission import Execution, Share

    asked: list[tuple[object, ...]] = []

    def choose(shape, recipe, device, groups, *rest):  # type: ignore[no-untyped-def]
        asked.append((shape.depth, recipe.steps, groups))
        return tuning.Tuning(max(cells for cells, _ in groups), shape.depth > 1, 1, ())

    monkeypatch.setattr(tuning, "choose", choose)
    made = submissions.new(tmp_path, SWEEP, Execution(), [Share(())], "c0de", (), ())
    return worker.Worker(made, 0, None, Stages(0.0), False), asked  # type: ignore[arg-type]


@pytest.mark.usefixtures("here")
def test_a_sweep_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cells are the same, number for number, as those of a grid of one size and budget."""
    monkeypatch.setattr(run_summary, "report", lambda *given: 0)
    out, alone = tmp_path / "sweep", tmp_path / "alone"
    small = [*SMALL, "--weights", "ema", "--settings", "2:1"]
    at = small.index("--steps")
    small[at : at + 2] = []
    assert grid.main([*small, "--depths", "1", "2", "--budgets", "6", "12", "--out", str(out)]) == 0
    assert grid.main([*small, "--depth", "2", "--steps", "12", "--out", str(alone)]) == 0
    cells = {
        path.name: json.loads((path / "config.json").read_text())["cell"]
        for path in (out / "cells").iterdir()
    }
    assert sorted((c["model"]["depth"], c["training"]["steps"]) for c in cells.values()) == [
        (d, s) for d in (1, 2) for s in (6, 12) for _ in range(2)
    ]
    for cell in (alone / "cells").iterdir():
        same = out / "cells" / cell.name
        assert metrics(same) == metrics(cell)
        assert json.loads((same / "status.json").read_text())["training"]["pack"] == 2
        kept = atomic.read_tensors(same / "ema.safetensors")[0]
        assert {name: tuple(value.shape) for name, value in kept.items()} == {
            name: tuple(value.shape)
            for name, value in atomic.read_tensors(cell / "ema.safetensors")[0].items()
        }
    (beat,) = (atomic.read_object(file) for file in out.glob("submissions/*/beat-0000.json"))
    assert (beat["packs"], beat["resumed"], workload.progress(beat)) == (4, 0.0, pytest.approx(1.0))
    assert all(
        p.state == "done"
        for p in plan.make(parse([*small, "--depths", "1", "2", "--budgets", "6", "12"]).grid, out).cells
    )


def test_a_mistake_in_a_sweep_names_the_value() -> None:
    with pytest.raises(UserError, match=r"^--depths 2: the model's width 128 must be a positive multiple"):
        Grid(model=Model(depth=3, heads=3), depths=(3, 2))
