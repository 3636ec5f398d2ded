"""Data parallel training in several processes by gloo: the draws are those of one process to the bit, the losses up to
rounding; all replicas stay equal, stop together, and continue from the last checkpoint after one of them was killed."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch import distributed as dist

from bench.config.experiment import Grid
from bench.runfolder import store
from bench.training.batches import Batches, validation_batch
from bench.training.checkpoint import Stopped
from bench.training.feed import Feed
from bench.training.replicas import ALONE, Replicas
from bench.training.train import train
from bench.training.trainer import Replay, Trainer
from bench.worker.setup import Setup
from flowbench._core import atomic
from formulations import get

from ..forked import Dying, together

CPU = torch.device("cpu")
NAMES = ("rf/lognorm(0,1)", "eps/linear")
FORMULATIONS = [get(name) for name in NAMES]
STEPS = 50


def drawn(
    setup: Setup, grid: Grid, replicas: Replicas, accumulate: int, halves: bool = False
) -> dict[str, Tensor]:
    """All that 50 steps draw and give, by name: draws with their samples first. ``halves``: as graphs before and after the
    average, which here are calls."""
    recipe = replace(grid.training, steps=STEPS)
    batches = Batches(setup.data, setup.captions, 0, recipe.batch, 0.5, CPU, 0.2, replicas)
    feed = Feed(FORMULATIONS, batches, STEPS)
    trainer = Trainer(
        setup.shape(grid.model), len(NAMES), recipe, CPU, accumulate=accumulate, replicas=replicas
    )
    if halves:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("bench.training.trainer.Graph", lambda device: lambda function: function())
            trainer.replay = Replay(trainer, CPU)
    losses, draws = [], dict[str, list[Tensor]]()
    for step in range(STEPS):
        batch, c = feed.at(step)
        for name, value in {**batch._asdict(), **{n: v.T for n, v in c._asdict().items()}}.items():
            draws.setdefault(name, []).append(value)
        trainer.step(step, batch, c)
        losses.append(trainer.health.mean_loss())
    state = {"losses": torch.stack(losses), "weights": trainer.flat.weights, "ema": trainer.ema}
    return state | {name: torch.stack(values, 1).contiguous() for name, values in draws.items()}


@pytest.fixture(scope="module")
def alone(setup: Setup, grid: Grid) -> dict[str, Tensor]:
    return drawn(setup, grid, ALONE, 1)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("count", [2, 4])
def test_replicas_draw_and_learn_what_one_process_does(
    setup: Setup, grid: Grid, alone: dict[str, Tensor], tmp_path: Path, count: int, accumulate: int
) -> None:
    def work(replicas: Replicas) -> None:
        found = drawn(setup, grid, replicas, accumulate)
        atomic.write_tensors(tmp_path / f"{replicas.rank}.safetensors", found, {})

    assert together(count, work, tmp_path) == [0] * count
    parts = [atomic.read_tensors(tmp_path / f"{rank}.safetensors")[0] for rank in range(count)]
    for name in alone.keys() - {"losses", "weights", "ema"}:
        assert torch.equal(torch.cat([part[name] for part in parts]), alone[name]), name
    for part in parts:
        for name in ("losses", "weights", "ema"):
            assert torch.equal(part[name], parts[0][name]), f"{name} of all replicas"
        torch.testing.assert_close(part["losses"], alone["losses"], rtol=1e-5, atol=1e-5)
    assert not torch.equal(parts[0]["weights"], alone["weights"]), "it was split"


def test_a_step_in_two_halves_is_the_step(
    setup: Setup, grid: Grid, alone: dict[str, Tensor], tmp_path: Path
) -> None:
    """As on a GPU, where the average is between two graphs."""

    def work(replicas: Replicas) -> None:
        found = drawn(setup, grid, replicas, 1, halves=True)
        torch.testing.assert_close(found["losses"], alone["losses"], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found["ema"], alone["ema"], rtol=1e-3, atol=1e-4)

    assert together(2, work, tmp_path) == [0, 0]


def test_replicas_have_as_many_threads_as_the_fewest(tmp_path: Path) -> None:
    def work(replicas: Replicas) -> None:
        torch.set_num_threads(3 - replicas.rank)
        assert replicas.agree(None) is None
        assert torch.get_num_threads() == 2

    assert together(2, work, tmp_path) == [0, 0]


def trained(setup: Setup, grid: Grid, replicas: Replicas, folder: Path, **ends: Any) -> None:
    """Train as one of the replicas; the first one keeps checkpoints, and the best weights at the end."""
    recipe = replace(grid.training, steps=10, validations=3)
    trained = train(
        FORMULATIONS,
        setup.shape(grid.model),
        recipe,
        Batches(
            setup.data, setup.captions, 0, recipe.batch, recipe.dropout, CPU, recipe.drop_encoders, replicas
        ),
        validation_batch(setup.data, setup.captions, recipe.validation_images, CPU),
        0,
        checkpointer=Dying(cells(folder) if replicas.first else (), replicas, **ends),
    )
    if replicas.first:
        atomic.write_tensors(
            folder / "best.safetensors", {"ema": trained.best.ema, "raw": trained.best.raw}, {}
        )


def cells(folder: Path) -> list[Path]:
    return [folder / name for name in ("a", "b")]


@pytest.fixture(scope="module")
def undisturbed(setup: Setup, grid: Grid, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert together(2, lambda replicas: trained(setup, grid, replicas, folder), folder) == [0, 0]
    return (folder / "best.safetensors").read_bytes()


@pytest.mark.parametrize("victim", [0, 1])
def test_after_one_is_killed_all_end_and_continue_from_the_checkpoint(
    setup: Setup, grid: Grid, undisturbed: bytes, tmp_path: Path, victim: int
) -> None:
    def dies(replicas: Replicas) -> None:
        trained(setup, grid, replicas, tmp_path, dies=8 if replicas.rank == victim else None)

    codes = together(2, dies, tmp_path)
    assert codes[victim] == -signal.SIGKILL
    assert codes[1 - victim] == 3, "it does not wait for the other"
    assert [max(store.checkpoint_steps(cell)) for cell in cells(tmp_path)] == [6, 6]
    assert together(2, lambda replicas: trained(setup, grid, replicas, tmp_path), tmp_path) == [0, 0]
    assert (tmp_path / "best.safetensors").read_bytes() == undisturbed


def test_all_stop_where_one_is_asked_to(setup: Setup, grid: Grid, undisturbed: bytes, tmp_path: Path) -> None:
    def stops(replicas: Replicas) -> None:
        with pytest.raises(Stopped, match="stopped after step 5"):
            trained(setup, grid, replicas, tmp_path, stops=5 if replicas.rank == 1 else None)

    assert together(2, stops, tmp_path) == [0, 0]
    assert [max(store.checkpoint_steps(cell)) for cell in cells(tmp_path)] == [5, 5]
    assert together(2, lambda replicas: trained(setup, grid, replicas, tmp_path), tmp_path) == [0, 0]
    assert (tmp_path / "best.safetensors").read_bytes() == undisturbed


def test_one_process_communicates_nothing(
    setup: Setup, grid: Grid, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("all_reduce", "broadcast", "init_process_group"):
        monkeypatch.setattr(dist, name, lambda *given: pytest.fail("a collective was called"))
    trained(setup, grid, ALONE, tmp_path)
    assert (tmp_path / "best.safetensors").exists()


def test_what_ran_here_before_leaves_their_processes_alone(tmp_path: Path) -> None:
    """A compiled function's gradients start threads of autograd in this process, with which no fork of it has any."""

    def gradients(replicas: Replicas) -> None:
        leaf = torch.ones(2, requires_grad=True)
        torch.compile(torch.Tensor.sum, backend="aot_eager")(leaf).backward()
        assert leaf.grad is not None

    gradients(ALONE)
    assert together(2, gradients, tmp_path) == [0, 0]
