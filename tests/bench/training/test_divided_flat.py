"""Training with divided parameters, in forked processes by gloo: the draws are those of one process to the bit, the losses
up to rounding; each replica has its part of all that is kept, and continues from it after one of them was killed."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.config.experiment import Model, Training
from bench.models.check_architecture import CAPTIONS, SMALL
from bench.models.shape import Shape
from bench.training.batches import Batches, micro_batches, validation_batch
from bench.training.checkpoint import State
from bench.training.feed import Feed
from bench.training.members import Best
from bench.training.replicas import ALONE, Replicas, collective
from bench.training.train import validate
from bench.training.trainer import Trainer
from bench.training.tuning import inputs
from bench.worker.setup import Setup
from flowbench._core import atomic
from formulations import get

from ..forked import together

CPU = torch.device("cpu")
RF = [get("rf/lognorm(0,1)")]
MODEL = Model(depth=2, width=32, heads=2, patch=4)
RECIPE = Training(
    steps=50, batch=8, warmup=2, lr=3e-3, validations=3, validation_images=16, gradients="clip:0.5"
)


def made(setup: Setup, recipe: Training, replicas: Replicas, **how: Any) -> tuple[Trainer, Feed]:
    batches = Batches(setup.data, setup.captions, 0, recipe.batch, 0.5, CPU, recipe.drop_encoders, replicas)
    trainer = Trainer(setup.shape(MODEL), 1, recipe, CPU, replicas=replicas, **how)
    return trainer, Feed(RF, batches, recipe.steps)


def state_of(trainer: Trainer) -> State:
    return State(trainer, Best(trainer.flat.weights), [[]])


def drawn(setup: Setup, recipe: Training, replicas: Replicas, **how: Any) -> dict[str, Tensor]:
    """All that the steps draw and give, by name: draws with their samples first; weights and EMA whole."""
    trainer, feed = made(setup, recipe, replicas, **how)
    losses, draws = [], dict[str, list[Tensor]]()
    for step in range(recipe.steps):
        batch, c = feed.at(step)
        for name, value in {**batch._asdict(), **{n: v.T for n, v in c._asdict().items()}}.items():
            draws.setdefault(name, []).append(value)
        trainer.step(step, batch, c)
        losses.append(trainer.health.mean_loss())
    state = {"losses": torch.stack(losses)}
    state |= {name: trainer.flat.gathered(getattr(trainer, name)) for name in ("ema",)}
    state["weights"] = trainer.flat.gathered(trainer.flat.weights)
    return state | {name: torch.stack(values, 1).contiguous() for name, values in draws.items()}


@pytest.fixture(scope="module")
def alone(setup: Setup) -> dict[str, Tensor]:
    return drawn(setup, RECIPE, ALONE)


@pytest.mark.parametrize(
    ("count", "how"),
    [
        (2, {}),
        pytest.param(2, {"accumulate": 2, "recompute": True}, marks=pytest.mark.long),
        pytest.param(4, {"accumulate": 2}, marks=pytest.mark.long),
    ],
)
def test_they_draw_and_learn_what_one_process_does(
    setup: Setup, alone: dict[str, Tensor], tmp_path: Path, count: int, how: dict[str, Any]
) -> None:
    def work(replicas: Replicas) -> None:
        found = drawn(setup, RECIPE, replicas, **how)
        atomic.write_tensors(tmp_path / f"{replicas.rank}.safetensors", found, {})

    assert together(count, work, tmp_path, divided=True) == [0] * count
    parts = [atomic.read_tensors(tmp_path / f"{rank}.safetensors")[0] for rank in range(count)]
    for name in alone.keys() - {"losses", "weights", "ema"}:
        assert torch.equal(torch.cat([part[name] for part in parts]), alone[name]), name
    for part in parts:
        assert torch.equal(part["losses"], parts[0]["losses"])
        torch.testing.assert_close(part["losses"], alone["losses"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(parts[0]["ema"], alone["ema"], rtol=1e-3, atol=1e-4)
    assert parts[0]["weights"].shape == alone["weights"].shape
    assert not torch.equal(parts[0]["weights"], alone["weights"]), "it was split"


def test_each_has_its_part_of_all_that_is_kept(setup: Setup, tmp_path: Path) -> None:
    whole, _ = made(setup, RECIPE, ALONE)
    rows = state_of(whole).rows()

    def work(replicas: Replicas) -> None:
        trainer, feed = made(setup, RECIPE, replicas)
        trainer.step(0, *feed.at(0))
        for name, row in state_of(trainer).rows().items():
            part = 2 if rows[name].shape == whole.flat.weights.shape else 1
            assert part * row.numel() == rows[name].numel(), name
        parameters = [*trainer.model.parameters(), trainer.flat.weights, trainer.flat.grads]
        assert len({p.untyped_storage().data_ptr() for p in map(local, parameters[:-1])}) == 1, "views"
        assert 2 * sum(local(p).numel() for p in parameters) == 3 * whole.flat.weights.numel()

    assert together(2, work, tmp_path, divided=True) == [0, 0]


def local(parameter: Any) -> Tensor:
    found: Tensor = parameter.to_local() if hasattr(parameter, "to_local") else parameter
    return found


def test_in_bf16_parameters_stay_float32(setup: Setup, tmp_path: Path) -> None:
    """And blocks compute with them in bf16, as by autocast."""
    half = replace(RECIPE, precision="bf16", steps=10)
    usual = drawn(setup, half, ALONE)["losses"]

    def work(replicas: Replicas) -> None:
        trainer, feed = made(setup, half, replicas)
        seen = list[torch.dtype]()
        for name in ("image.up", "text.qkv"):
            layer = trainer.model.blocks[0].get_submodule(name)
            layer.register_forward_hook(lambda layer, given, out: seen.append(layer.weight.dtype))
        losses = []
        for step in range(half.steps):
            trainer.step(step, *feed.at(step))
            losses.append(trainer.health.mean_loss())
        assert set(seen) == {torch.bfloat16}
        assert {row.dtype for row in state_of(trainer).rows().values() if row.is_floating_point()} == {
            torch.float32
        }
        torch.testing.assert_close(torch.stack(losses), usual, rtol=1e-2, atol=1e-3)

    assert together(2, work, tmp_path, divided=True) == [0, 0]


def test_weights_that_are_swapped_in_are_validated(setup: Setup, tmp_path: Path) -> None:
    held = validation_batch(setup.data, setup.captions, 16, CPU)
    draw = torch.Generator().manual_seed(1)

    def losses(trainer: Trainer) -> list[Tensor]:
        from bench.training.coefficients import validation_coefficients

        c = validation_coefficients(RF, held[1], CPU)
        return [each for _ in range(2) for each in validate(trainer, held[0], c)]

    usual, _ = made(setup, RECIPE, ALONE)
    usual.ema += 0.05 * torch.randn(usual.ema.shape, generator=draw)
    wanted = losses(usual)

    def work(replicas: Replicas) -> None:
        trainer, _ = made(setup, RECIPE, replicas)
        before = losses(trainer)
        trainer.ema.copy_(trainer.flat.row(usual.flat.member(usual.ema[0]))[None])
        for found, other, was in zip(losses(trainer), wanted, before, strict=True):
            torch.testing.assert_close(found, other, rtol=1e-5, atol=1e-5)
            assert not torch.allclose(found, was)

    assert together(2, work, tmp_path, divided=True) == [0, 0]


@pytest.mark.parametrize("where", ["forward", pytest.param("backward", marks=pytest.mark.long)])
def test_one_that_is_gone_amid_a_step_is_missed(setup: Setup, tmp_path: Path, where: str) -> None:
    def dies(*given: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def work(replicas: Replicas) -> None:
        trainer, feed = made(setup, RECIPE, replicas)
        if replicas.rank and where == "forward":
            trainer.model.blocks[1].register_forward_pre_hook(dies)
        elif replicas.rank:
            trainer.model.blocks[0].register_full_backward_pre_hook(dies)
        with pytest.raises(RuntimeError) as raised:
            trainer.step(0, *feed.at(0))
        assert collective(raised.value)

    assert together(2, work, tmp_path, divided=True) == [0, -signal.SIGKILL]


def test_an_error_of_the_step_is_none_of_a_collective(setup: Setup, tmp_path: Path) -> None:
    def work(replicas: Replicas) -> None:
        trainer, feed = made(setup, RECIPE, replicas)
        trainer.model.blocks[1].register_forward_pre_hook(lambda *given: torch.zeros(2) @ torch.zeros(3))
        with pytest.raises(RuntimeError, match="size") as raised:
            trainer.step(0, *feed.at(0))
        assert not collective(raised.value)

    assert together(2, work, tmp_path, divided=True) == [0, 0]


@pytest.mark.long
def test_every_network_is_divided(tmp_path: Path) -> None:
    """A step by half of a batch each gives the gradients of a step by all of it."""
    names = "dit", "crossdit:adaln=single", "uvit", "uvit_bao", "prx", "mmdit:sets=3,qk=none"
    wanted = {}
    for name in names:
        shape = Shape(**SMALL, **CAPTIONS, architecture=name)
        batch, c = inputs(shape, 1, 8, CPU)
        trainer = Trainer(shape, 1, RECIPE, CPU)
        for step in range(3):  # zeros at the start would hide blocks
            trainer.step(step, batch, c)
        wanted[name] = trainer.flat.weights

    def work(replicas: Replicas) -> None:
        for name, weights in wanted.items():
            shape = Shape(**SMALL, **CAPTIONS, architecture=name)
            halves = list(micro_batches(*inputs(shape, 1, 8, CPU), 2))
            trainer = Trainer(shape, 1, RECIPE, CPU, replicas=replicas)
            for step in range(3):
                trainer.step(step, *halves[replicas.rank])
            found = trainer.flat.gathered(trainer.flat.weights)
            if replicas.first:
                assert float((found - weights).norm() / weights.norm()) < 1e-4, name

    assert together(2, work, tmp_path, divided=True) == [0, 0]
