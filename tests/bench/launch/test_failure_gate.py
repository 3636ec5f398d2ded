"""Cells are held back while others show that they would fail too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from bench.config.experiment import Cell, Grid
from bench.launch import supervisor
from bench.launch.failure_gate import Gate
from bench.planning.cells import cells_of
from bench.runfolder.submission import Share, Submission
from flowbench._core import atomic

Found = tuple[Submission, dict[tuple[str, int], Cell]]


@pytest.fixture
def found(submit: Callable[..., Submission], tiny: Grid) -> Found:
    """A submission with a canary of RF, and its cells by formulation and seed."""
    grid = replace(tiny, seeds=5)
    cells = {(c.formulation.partition("/")[0], c.seed): c for c in cells_of(grid)}
    rest = tuple(c.id for key, c in cells.items() if key != ("rf", 0))
    made = submit(grid=grid, shares=[Share((cells["rf", 0].id,), canary=True), Share(rest)], code="none")
    return made, cells


def test_nothing_is_held_while_nothing_fails(found: Found) -> None:
    made, cells = found
    assert not any(Gate(made).holds(cell) for cell in cells.values())


def test_three_failures_alike_hold_their_formulation(found: Found) -> None:
    made, cells = found
    for seed in range(2):
        supervisor.failed(made, cells["eps", seed].id, "cafe0000")
    supervisor.failed(made, cells["eps", 2].id, "beef0000")
    gate = Gate(made)
    assert not any(gate.holds(cell) for cell in cells.values()), "two alike and another"
    supervisor.failed(made, cells["eps", 3].id, "cafe0000")
    held = {formulation for (formulation, _), cell in cells.items() if gate.holds(cell)}
    assert held == {"eps"}, "also in a worker that began before"
    error = {"kind": "ValueError", "message": "ValueError: no", "cause": "cafe0000"}
    atomic.write_json(made.out / "cells" / cells["eps", 0].id / "status.json", {"error": error})
    assert gate.holds(cells["eps", 4])
    assert gate.reason == "3 cells of eps/linear failed alike: ValueError: no"


def test_failures_alike_everywhere_hold_all_that_is_left(found: Found) -> None:
    made, cells = found
    for kind in sorted({kind for kind, _ in cells}):
        assert not any(Gate(made).holds(cell) for cell in cells.values())
        for seed in (2, 3):
            supervisor.failed(made, cells[kind, seed].id, "cafe0000")
    gate = Gate(made)
    assert all(gate.holds(cell) for cell in cells.values())
    assert gate.reason.startswith(f"{2 * len({kind for kind, _ in cells})} cells failed alike: ")


def test_one_cell_that_fails_three_times_counts_once(found: Found) -> None:
    made, cells = found
    for _ in range(3):
        supervisor.failed(made, cells["eps", 0].id, "cafe0000")
    assert not Gate(made).holds(cells["eps", 1])


def test_cells_that_were_killed_count_too(found: Found) -> None:
    made, cells = found
    for seed in range(3):
        supervisor.failed(made, cells["eps", seed].id, "killed-9")
    gate = Gate(made)
    assert gate.holds(cells["eps", 4])
    assert not gate.holds(cells["rf", 1])


def test_a_canary_that_fails_holds_its_formulation_alone(found: Found) -> None:
    made, cells = found
    supervisor.failed(made, cells["rf", 0].id, "cafe0000")
    gate = Gate(made)
    assert [key for key, cell in cells.items() if gate.holds(cell)] == [("rf", seed) for seed in range(1, 5)]
    assert gate.reason.startswith("the canary of rf")


def test_a_failure_of_another_cell_is_no_canary_s(found: Found) -> None:
    made, cells = found
    supervisor.failed(made, cells["rf", 1].id, "cafe0000")
    assert not any(Gate(made).holds(cell) for cell in cells.values())
