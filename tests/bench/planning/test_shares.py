"""Every cell that is to be run is in exactly one share, however many workers there are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from bench.config.experiment import Grid
from bench.planning import shares
from bench.planning.cells import cells_of
from bench.planning.plan import BUSY, ENDED, Plan, Planned, State

GRID = Grid(formulations=("rf", "eps/linear", "v/cos"), datasets=("shapes", "digits"), seeds=3)
CELLS = cells_of(GRID)


def planned(states: list[State]) -> Plan:
    """The grid's cells in these states."""
    nowhere = Path("/nonexistent")
    cells = [Planned(cell, nowhere / cell.id, state) for cell, state in zip(CELLS, states, strict=True)]
    return Plan(GRID, nowhere, tuple(cells))


@given(
    states=st.lists(st.sampled_from(get_args(State)), min_size=len(CELLS), max_size=len(CELLS)),
    slots=st.none() | st.integers(1, 20),
    pack=st.none() | st.integers(1, 7),
    canary=st.booleans(),
)
def test_every_ready_cell_is_in_exactly_one_share(
    states: list[State], slots: int | None, pack: int | None, canary: bool
) -> None:
    made = planned(states)
    divided = shares.divide(made, slots, pack, canary)
    found = shares.as_shares(divided, made, canary)
    ready = [p.cell.id for p in made.cells if p.state not in (*ENDED, *BUSY)]
    assert sorted(cell for share in found for cell in share.cells) == sorted(ready)
    assert all(share.cells for share in found)

    first = [share for share in found if share.canary]
    assert found[: len(first)] == first, "canaries come first"
    formulations = [{c.id: c.formulation for c in CELLS}[cell] for share in first for cell in share.cells]
    assert all(len(share.cells) == 1 for share in first)
    assert len(set(formulations)) == len(formulations)
    if not canary:
        assert not first
    rest = found[len(first) :]
    if slots == 1:
        assert len(rest) <= 1
    else:
        group = {p.cell.id: (p.cell.dataset, p.cell.seed, p.state == "trained") for p in made.cells}
        assert all(len({group[cell] for cell in share.cells}) == 1 for share in rest), (
            "each can share a graph"
        )
        assert all(len(share.cells) <= (pack or len(CELLS)) for share in rest)
        if slots and pack is None and not canary:
            assert len(found) >= min(slots, len(ready)) or len(found) >= len(ready) // 2


def test_a_canary_is_the_first_cell_of_each_formulation_with_several() -> None:
    made = planned(["done"] * 6 + ["missing"] * (len(CELLS) - 6))
    assert [p.cell.formulation for p in shares.canaries(made)] == ["rf", "eps/linear", "v/cos"]
    only = planned(["done"] * (len(CELLS) - 1) + ["missing"])
    assert shares.canaries(only) == []


def test_a_worker_for_real_scores_alone_has_no_cells() -> None:
    made = planned(["done"] * len(CELLS))
    assert shares.divide(made, 1, None, False) == []
    (share,) = shares.as_shares([[]], made, False)
    assert (share.cells, share.canary) == ((), False)


def test_two_slots_share_one_group_evenly() -> None:
    small = replace(GRID, datasets=("shapes",), seeds=1, formulations=("rf", "eps/linear", "v/cos"))
    cells = [Planned(c, Path("/nonexistent") / c.id, "missing") for c in cells_of(small)]
    divided = shares.divide(Plan(small, Path("/nonexistent"), tuple(cells)), 2, None, False)
    assert sorted(map(len, divided)) == [1, 2]
