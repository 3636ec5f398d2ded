"""What cannot be divided among replicas is refused in one sentence, and how much memory that saves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import nn

from bench import objectives, optimisers
from bench.config.experiment import Grid, Model
from bench.models import architecture
from bench.models.plain import Plain
from bench.objectives import flow
from bench.planning import divided_parameters
from bench.planning.cells import cells_of
from bench.planning.requirements import by_cell
from bench.runfolder.submission import Execution
from flowbench._core.errors import UserError

SHARD = Execution(replicas=2, shard="blocks", pack=1)


def check(grid: Grid, execution: Execution = SHARD) -> None:
    divided_parameters.check(cells_of(grid), grid, execution)


def test_what_comes_with_the_project_is_divided(grid: Grid) -> None:
    check(grid)
    for name in ("dit", "crossdit:adaln=single", "uvit", "prx"):
        check(replace(grid, model=replace(grid.model, architecture=name)))


def test_an_optimiser_of_whole_matrices_is_refused(grid: Grid) -> None:
    moved = replace(grid, training=replace(grid.training, optimiser="muon"))
    with pytest.raises(
        UserError, match=r"^--shard blocks: the optimiser muon\(0.95\) needs whole parameters: "
    ):
        check(moved)
    check(moved, Execution(replicas=2))


def test_a_second_network_is_refused(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow.Flow, "frozen", ("start",))
    objectives.get.cache_clear()
    with pytest.raises(
        UserError, match="--shard blocks: the objective flow reads a second network, start, which"
    ):
        check(grid)


def test_a_network_without_blocks_is_refused(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(architecture.registry, "entries", dict(architecture.registry.entries))
    architecture.register("whole")(lambda: Plain(lambda shape: nn.Linear(1, 1)))
    with pytest.raises(
        UserError, match="--shard blocks: the network whole declares no blocks to divide: leave"
    ):
        check(replace(grid, model=replace(grid.model, architecture="whole")))


def test_a_part_is_kept_and_a_layer_gathered(grid: Grid) -> None:
    deep = replace(grid, model=Model(depth=8, width=64, heads=2, patch=4))
    requirements = by_cell(deep)(cells_of(deep)[0])
    numbers = 4 * requirements.shape.parameters()
    kept = 7 + optimisers.get("adamw").copies
    assert requirements.parameter_bytes() == kept * numbers
    assert requirements.parameter_bytes(4) == kept * numbers / 4
    saved = requirements.training_bytes(8) - requirements.training_bytes(8, shards=4)
    assert saved == pytest.approx((kept * 3 / 4 - 1) * numbers)
