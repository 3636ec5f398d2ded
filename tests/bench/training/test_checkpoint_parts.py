"""Checkpoints whose parts the replicas keep: continued to the same bits by as many, up to rounding by any other number,
divided or not."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.runfolder import store
from bench.training.batches import Batches, validation_batch
from bench.training.checkpoint import Stopped
from bench.training.replicas import Replicas
from bench.training.train import train
from bench.worker.setup import Setup
from flowbench._core import atomic

from ..forked import Dying, together
from .test_divided_flat import CPU, MODEL, RECIPE, RF, made, state_of


def trained(setup: Setup, replicas: Replicas, cell: Path, **ends: Any) -> None:
    """Train as one of the replicas; the first one writes the best weights at the end."""
    found = train(
        RF,
        setup.shape(MODEL),
        replace(RECIPE, steps=10),
        Batches(setup.data, setup.captions, 0, RECIPE.batch, 0.1, CPU, 0.0, replicas),
        validation_batch(setup.data, setup.captions, RECIPE.validation_images, CPU),
        0,
        checkpointer=Dying([cell] if replicas.first or replicas.divided else [], replicas, **ends),
    )
    if replicas.first:
        for name in ("ema", "raw"):
            weights = found.flat.whole.member(getattr(found.best, name)[0])
            atomic.write_tensors(cell / f"{name}.safetensors", weights, {})


def weights_of(cell: Path) -> bytes:
    return (cell / "ema.safetensors").read_bytes() + (cell / "raw.safetensors").read_bytes()


@pytest.fixture(scope="module")
def undisturbed(setup: Setup, tmp_path_factory: pytest.TempPathFactory) -> Path:
    cell = tmp_path_factory.mktemp("undisturbed")
    assert together(2, lambda replicas: trained(setup, replicas, cell), cell, divided=True) == [0, 0]
    return cell


@pytest.mark.parametrize("victim", [0, pytest.param(1, marks=pytest.mark.long)])
def test_after_one_is_killed_they_continue_to_the_same_bits(
    setup: Setup, undisturbed: Path, tmp_path: Path, victim: int
) -> None:
    def dies(replicas: Replicas) -> None:
        trained(setup, replicas, tmp_path, dies=8 if replicas.rank == victim else None)

    codes = together(2, dies, tmp_path, divided=True)
    assert (codes[victim], codes[1 - victim]) == (-signal.SIGKILL, 3), "the other does not wait for it"
    assert store.checkpoint_steps(tmp_path) == [6, 3]
    assert (tmp_path / "checkpoint-00000006-1of2.safetensors").exists()
    again = together(2, lambda replicas: trained(setup, replicas, tmp_path), tmp_path, divided=True)
    assert (again, weights_of(tmp_path)) == ([0, 0], weights_of(undisturbed))


DIVIDED, ALIKE = True, False


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((2, DIVIDED), (1, ALIKE)),
        pytest.param((1, ALIKE), (2, DIVIDED), marks=pytest.mark.long),
        pytest.param((2, DIVIDED), (4, DIVIDED), marks=pytest.mark.long),
        pytest.param((4, DIVIDED), (2, DIVIDED), marks=pytest.mark.long),
        pytest.param((2, DIVIDED), (2, ALIKE), marks=pytest.mark.long),
    ],
)
def test_any_number_of_replicas_continues(
    setup: Setup,
    undisturbed: Path,
    tmp_path: Path,
    before: tuple[int, bool],
    after: tuple[int, bool],
) -> None:
    def begins(replicas: Replicas) -> None:
        with pytest.raises(Stopped, match="stopped after step 5"):
            trained(setup, replicas, tmp_path, stops=5)

    def continues(replicas: Replicas) -> None:
        trained(setup, replicas, tmp_path)

    assert together(before[0], begins, tmp_path, before[1]) == [0] * before[0]
    assert store.checkpoint_steps(tmp_path) == [5, 3]
    assert together(after[0], continues, tmp_path, after[1]) == [0] * after[0]
    assert store.checkpoint_steps(tmp_path) == [9, 6]
    found, wanted = (atomic.read_tensors(cell / "raw.safetensors")[0] for cell in (tmp_path, undisturbed))
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "damage", ["cut", *(pytest.param(damage, marks=pytest.mark.long) for damage in ("gone", "first gone"))]
)
def test_a_part_that_cannot_be_read_leaves_the_checkpoint_before(
    setup: Setup, tmp_path: Path, damage: str
) -> None:
    def dies(replicas: Replicas) -> None:
        trained(setup, replicas, tmp_path, dies=8)

    assert together(2, dies, tmp_path, divided=True) == [-signal.SIGKILL] * 2
    part = tmp_path / "checkpoint-00000006-1of2.safetensors"
    if damage == "cut":
        part.write_bytes(part.read_bytes()[:-4])
    elif damage == "gone":
        part.unlink()
    else:
        (tmp_path / "checkpoint-00000006.safetensors").unlink()

    def continues(replicas: Replicas) -> None:
        trainer, _ = made(setup, replace(RECIPE, steps=10), replicas)
        untouched = trainer.flat.weights.clone()
        assert Dying([tmp_path], replicas).load(state_of(trainer)) == 3
        assert not torch.equal(trainer.flat.weights, untouched)

    assert together(2, continues, tmp_path, divided=True) == [0, 0]
    assert store.checkpoint_steps(tmp_path) == [3]


def test_what_one_cannot_write_is_no_checkpoint(setup: Setup, undisturbed: Path, tmp_path: Path) -> None:
    def full(path: Path, *given: object) -> None:
        raise atomic.Unwritable(28, "No space left on device", str(path))

    def work(replicas: Replicas) -> None:
        with pytest.MonkeyPatch.context() as patch:
            if not replicas.first:
                patch.setattr(atomic, "write_tensors", full)
            trained(setup, replicas, tmp_path)

    assert together(2, work, tmp_path, divided=True) == [0, 0]
    assert not list(tmp_path.glob("checkpoint-*"))
    assert weights_of(tmp_path) == weights_of(undisturbed)
