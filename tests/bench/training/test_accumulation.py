"""Micro-batches: the same batch in equal parts, whose gradients add up to its own, in one step of everything else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bench.config.experiment import Grid
from bench.objectives import flow
from bench.planning import divided_batch
from bench.runfolder.submission import Execution
from bench.training.batches import Batches, micro_batches
from bench.training.feed import Feed
from bench.training.trainer import Trainer
from bench.worker.setup import Setup
from flowbench._core.errors import UserError
from formulations import get

CPU = torch.device("cpu")
NAMES = ("rf/lognorm(0,1)", "eps/linear", "edm(-1.2,1.2)")
STEPS = 50


def trainer_of(setup: Setup, grid: Grid, accumulate: int, **recipe: object) -> tuple[Trainer, Feed]:
    training = replace(grid.training, **{"steps": STEPS} | recipe)  # type: ignore[arg-type]
    batches = Batches(setup.data, setup.captions, 0, training.batch, training.dropout, CPU)
    trainer = Trainer(setup.shape(grid.model), len(NAMES), training, CPU, accumulate=accumulate)
    return trainer, Feed([get(name) for name in NAMES], batches, STEPS)


def losses(setup: Setup, grid: Grid, accumulate: int, **recipe: object) -> tuple[torch.Tensor, Trainer]:
    """Each step's ``[50, E]``."""
    trainer, feed = trainer_of(setup, grid, accumulate, **recipe)
    found = []
    for step in range(STEPS):
        trainer.step(step, *feed.at(step))
        found.append(trainer.health.mean_loss())
    return torch.stack(found), trainer


def test_micro_batches_are_the_batch_in_its_order(setup: Setup, grid: Grid) -> None:
    _, feed = trainer_of(setup, grid, 4)
    batch, c = feed.at(3)
    parts = list(micro_batches(batch, c, 4))
    assert [part.x.shape[0] for part, _ in parts] == [2] * 4
    for whole, *pieces in zip(batch, *(part for part, _ in parts), strict=True):
        assert torch.equal(torch.cat(pieces), whole)
    for whole, *pieces in zip(c, *(k for _, k in parts), strict=True):
        assert torch.equal(torch.cat(pieces, 1), whole)


@pytest.mark.parametrize("recipe", [{}, {"gradients": "clip:0.5"}, {"optimiser": "muon"}], ids=str)
def test_losses_are_those_of_the_whole_batch(setup: Setup, grid: Grid, recipe: dict[str, str]) -> None:
    whole, one = losses(setup, grid, 1, **recipe)
    for accumulate in (2, 4):
        parted, other = losses(setup, grid, accumulate, **recipe)
        torch.testing.assert_close(parted, whole, rtol=1e-5, atol=1e-5)
        moved = (one.flat.weights - one.flat.weights.mean()).norm()
        assert (other.ema - one.ema).norm() < 1e-3 * moved
        assert not torch.equal(other.flat.weights, one.flat.weights), "it was split"


def test_a_micro_batch_that_is_not_finite_ends_a_member(setup: Setup, grid: Grid) -> None:
    trainer, feed = trainer_of(setup, grid, 4)
    batch, c = feed.at(0)
    c.w[1, -1] = float("nan")
    trainer.step(0, batch, c)
    assert trainer.health.diverged_at() == [None, 0, None]


@pytest.mark.parametrize(("batch", "parts", "nearest"), [(8, 3, 2), (8, 16, 8), (64, 60, 64), (7, 2, 1)])
def test_a_batch_that_does_not_divide_is_refused(grid: Grid, batch: int, parts: int, nearest: int) -> None:
    wanted = replace(grid, training=replace(grid.training, batch=batch))
    for given in ({"accumulate": parts}, {"replicas": parts}):
        sentence = (
            f"a batch of {batch} does not divide into {parts} equal parts, the nearest number is {nearest}"
        )
        with pytest.raises(UserError, match=sentence):
            divided_batch.check(wanted, Execution(**given))
    divided_batch.check(wanted, Execution(accumulate=nearest))


def test_replicas_and_micro_batches_divide_it_together(grid: Grid) -> None:
    divided_batch.check(grid, Execution(replicas=2, accumulate=4))
    with pytest.raises(UserError, match="--replicas 4 --accumulate 4: a batch of 8 does not divide into 16"):
        divided_batch.check(grid, Execution(replicas=4, accumulate=4))


def test_so_is_that_of_an_objective_that_couples_samples(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow.Flow, "coupled", True)
    divided_batch.check(grid, Execution())
    with pytest.raises(UserError, match="--accumulate 2: the objective flow couples the samples"):
        divided_batch.check(grid, Execution(accumulate=2))
