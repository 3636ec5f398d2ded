"""Cells of a grid and their states; nothing else decides what is run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.config.experiment import Cell, Evaluation, Grid, Training
from bench.config.identity import full
from bench.models.architecture import version_of
from bench.planning import plan
from bench.planning.cells import expand
from bench.runfolder import store
from bench.runfolder.cell_folder import retry
from flowbench._core import atomic
from flowbench._core.errors import UserError


def touch(out: Path, cell: Cell, state: str, evaluation: Evaluation | None = None) -> Path:
    folder = out / "cells" / cell.id
    atomic.write_json(folder / "config.json", {"cell": full(cell), "architecture": version_of("mmdit")})
    error = {"error": "RuntimeError: a bad day"} if state == "failed" else {}
    atomic.write_json(folder / "status.json", {"state": state, **error})
    if state == "trained":
        for name in store.WEIGHTS:
            atomic.write_text(folder / name, "")
    for name in store.MEASURED if evaluation is not None else ():
        atomic.write_text(folder / evaluation.id / name, "{}")
    return folder


def test_a_grid_is_the_cross_product_in_a_fixed_order(tmp_path: Path) -> None:
    grid = Grid(formulations=("rf", "eps/cos"), datasets=("shapes", "digits"), seeds=2)
    cells = [p.cell for p in plan.make(grid, tmp_path).cells]
    assert [(c.dataset, c.seed, c.formulation) for c in cells] == [
        (d, s, f) for d in ("shapes", "digits") for s in (0, 1) for f in ("rf", "eps/cos")
    ]
    assert len({c.id for c in cells}) == 8


def test_samplers_cross_every_formulation() -> None:
    grid = Grid(formulations=("rf/cosmap", "v/cos", "edm(0,1)"), samplers=("lognorm(0,1)", "uniform"))
    assert expand(grid) == (
        "rf/lognorm(0.00,1.00)",
        "rf",
        "v/cos/lognorm(0.00,1.00)",
        "v/cos",
        "edm(0.00,1.00)",
        "edm/rf",
    )


def test_suites_globs_and_names() -> None:
    assert len(expand(Grid(formulations=("paper",)))) == 61
    assert len(expand(Grid(formulations=("published",)))) == 17
    assert expand(Grid(formulations=("*/cos", "rf", "edm/cos"))) == ("eps/cos", "v/cos", "edm/cos", "rf")
    assert expand(Grid(formulations=("rf", "rf/lognorm( 0 , 1 )", "rf/lognorm(0.0,1.00)"))) == (
        "rf",
        "rf/lognorm(0.00,1.00)",
    )
    with pytest.raises(UserError, match="did you mean 'cosmap'"):
        expand(Grid(formulations=("rf/cosmop",)))
    with pytest.raises(UserError, match="cosmap"):
        expand(Grid(formulations=("rf",), samplers=("cosmop",)))


def test_states(tmp_path: Path) -> None:
    grid = Grid(formulations=("rf", "eps/cos", "v/cos", "eps/linear", "v/linear", "edm/rf"))
    cells = [p.cell for p in plan.make(grid, tmp_path).cells]
    touch(tmp_path, cells[0], "trained", grid.evaluation)
    touch(tmp_path, cells[1], "trained")
    touch(tmp_path, cells[2], "diverged")
    touch(tmp_path, cells[3], "failed")
    atomic.write_json(
        tmp_path / "cells" / cells[4].id / "config.json",
        {"cell": full(cells[4]), "architecture": version_of("mmdit")},
    )
    made = plan.make(grid, tmp_path)
    assert [p.state for p in made.cells] == ["done", "trained", "diverged", "failed", "missing", "missing"]
    assert made.counts() == {"done": 1, "trained": 1, "diverged": 1, "failed": 1, "missing": 2}
    groups = [[p.cell.formulation for p in group] for group in made.groups()]
    assert groups == [["eps/cos"], ["v/linear", "edm/rf"]], "neither what is finished nor what failed"
    (made.cells[0].folder / grid.evaluation.id / "per_sample.safetensors").unlink()
    assert plan.make(grid, tmp_path).cells[0].state == "trained", "measured again, because something is gone"
    (made.cells[0].folder / "raw.safetensors").unlink()
    assert plan.make(grid, tmp_path).cells[0].state == "missing", "trained again, because weights are gone"
    touch(tmp_path, cells[0], "trained", grid.evaluation)
    other = replace(grid, evaluation=replace(grid.evaluation, samples=77))
    assert plan.make(other, tmp_path).cells[0].state == "trained", (
        "another evaluation measures again and trains nothing"
    )


def test_a_cell_whose_measuring_failed_has_failed_until_it_is_tried_again(tmp_path: Path) -> None:
    grid = Grid(formulations=("rf",))
    folder = touch(tmp_path, plan.make(grid, tmp_path).cells[0].cell, "trained")
    failed = {"state": "trained", "error": "OSError: disk full", "evaluation": grid.evaluation.id}
    atomic.write_json(folder / "status.json", failed)
    other = replace(grid, evaluation=replace(grid.evaluation, samples=9))
    assert plan.make(other, tmp_path).cells[0].state == "trained", "another evaluation was not tried"
    assert plan.make(grid, tmp_path).cells[0].state == "failed"
    retry(folder, "failed")
    assert plan.make(grid, tmp_path).cells[0].state == "trained"


@pytest.mark.parametrize("left", ["lease.json", "checkpoint-00000012.safetensors"])
def test_a_cell_that_lost_its_worker_is_stale(left: str, tmp_path: Path) -> None:
    grid = Grid(formulations=("rf",))
    folder = touch(tmp_path, plan.make(grid, tmp_path).cells[0].cell, "missing")
    (folder / "status.json").unlink()
    assert plan.make(grid, tmp_path).cells[0].state == "missing"
    atomic.write_text(folder / left, "{}")
    made = plan.make(grid, tmp_path)
    assert made.cells[0].state == "stale"
    assert made.ready() == list(made.cells)


def test_what_others_are_at_is_not_to_be_run(tmp_path: Path) -> None:
    made = plan.make(Grid(formulations=("rf", "eps/cos", "v/cos")), tmp_path)
    states: tuple[plan.State, ...] = ("running", "queued", "stale")
    busy = replace(made, cells=tuple(replace(p, state=s) for p, s in zip(made.cells, states, strict=True)))
    assert [p.cell.formulation for p in busy.ready()] == ["v/cos"]
    assert [[p.cell.formulation for p in group] for group in busy.groups()] == [["v/cos"]]


@given(st.integers(1, 9), st.integers(1, 3), st.integers(1, 2))
def test_packs_cover_missing_cells_once(size: int, seeds: int, datasets: int) -> None:
    grid = Grid(formulations=("edm*",), datasets=("shapes", "digits")[:datasets], seeds=seeds)
    made = plan.make(grid, Path("nowhere"))
    packs = [pack for group in made.groups() for pack in plan.even(group, size)]
    assert [p for pack in packs for p in pack] == list(made.cells)
    assert all(len(pack) <= size for pack in packs)
    assert max(map(len, packs)) - min(map(len, packs)) <= 1
    assert all(len({(p.cell.dataset, p.cell.seed) for p in pack}) == 1 for pack in packs)


def test_another_configuration_under_the_same_id_is_an_error(tmp_path: Path) -> None:
    """As when a default changed between two versions of flowbench."""
    grid = Grid(formulations=("rf",))
    folder = touch(tmp_path, plan.make(grid, tmp_path).cells[0].cell, "trained")
    kept = json.loads((folder / "config.json").read_text())
    kept["cell"]["training"]["lr"] = 123.0
    atomic.write_json(folder / "config.json", kept)
    with pytest.raises(UserError, match=r"training\.lr"):
        plan.make(grid, tmp_path)


def test_a_cell_of_another_network_is_an_error(tmp_path: Path) -> None:
    grid = Grid(formulations=("rf",))
    cell = plan.make(grid, tmp_path).cells[0].cell
    file = tmp_path / "cells" / cell.id / "config.json"
    for kept in ({"cell": full(cell)}, {"cell": full(cell), "architecture": "mmdit-1"}):
        atomic.write_json(file, kept)
        with pytest.raises(UserError, match="trained with another version of the network"):
            plan.StateReader(tmp_path, grid)(cell)
    atomic.write_json(file, {"cell": full(cell), "architecture": version_of("mmdit")})
    assert plan.StateReader(tmp_path, grid)(cell).state == "missing"


def test_foreign_and_truncated_files_are_named_and_the_cell_is_run_again(tmp_path: Path) -> None:
    grid = Grid(formulations=("rf",))
    folder = touch(tmp_path, plan.make(grid, tmp_path).cells[0].cell, "trained", grid.evaluation)
    for name, content in (
        ("status.json", '{"state": "tra'),
        ("status.json", '{"state": "happy"}'),
        ("config.json", "[]"),
    ):
        (folder / name).write_text(content)
        (found,) = plan.make(grid, tmp_path).cells
        assert found.state == "missing"
        assert found.damage is not None
        assert f"{name} cannot be read" in found.damage


def test_differing_names_the_fields() -> None:
    a, b = full(Cell("rf", "shapes")), full(Cell("rf", "shapes", seed=1, training=Training(lr=1.0)))
    assert plan.differing(a, b) == "seed, training.lr"


def test_a_cell_continues_with_those_it_trained_with_last(tmp_path: Path) -> None:
    """Also where an older pack names it: A continued alone after {A, B}, and must not be packed with B again."""
    import torch

    cells = plan.make(Grid(formulations=("rf", "eps/cos", "v/cos")), tmp_path).cells
    a, b, c = (p.cell.id for p in cells)

    def checkpoint(planned: plan.Planned, step: int, pack: list[str]) -> None:
        file = store.checkpoint_file(planned.folder, step)
        atomic.write_tensors(file, {"weights": torch.zeros(1)}, {"pack": pack})

    checkpoint(cells[0], 1985, [a])
    checkpoint(cells[1], 272, [a, b])
    parts = [[p.cell.id for p in part] for part in plan.together([cells])]
    assert parts == [[a], [b], [c]]
    checkpoint(cells[0], 1986, [a, b, c])
    checkpoint(cells[0], 1987, [a, b, c])
    assert [[p.cell.id for p in part] for part in plan.together([cells])] == [[a], [b], [c]], "c began anew"


def test_a_pack_that_died_at_its_first_checkpoint_begins_together(tmp_path: Path) -> None:
    import torch

    cells = plan.make(Grid(formulations=("rf", "eps/cos")), tmp_path).cells
    pack = [p.cell.id for p in cells]
    file = store.checkpoint_file(cells[0].folder, 100)
    atomic.write_tensors(file, {"weights": torch.zeros(1)}, {"pack": pack})
    assert [[p.cell.id for p in part] for part in plan.together([cells])] == [pack]
