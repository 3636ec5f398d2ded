"""Weights that are kept at fractions of a training: those of their step, bit for bit, whatever else happens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.config.experiment import Grid, Training
from bench.runfolder import store
from bench.training.batches import Batches, validation_batch
from bench.training.replicas import Replicas
from bench.training.train import milestone_steps, train
from bench.worker.setup import Setup
from flowbench._core import atomic
from formulations import Formulation

from ..checkpoints import CPU, EPS, RF, STEPS, Killed, Watched, diverging, everything, folders, run
from ..forked import together

Kept = dict[tuple[int, str], dict[str, Tensor]]


@pytest.fixture
def marked(grid: Grid) -> Grid:
    """Milestones after 2, 4 and all 8 steps."""
    return replace(grid, training=replace(grid.training, milestones=(0.25, 0.5, 1)))


def kept(setup: Setup, grid: Grid, members: Sequence[Formulation], checkpointer: Watched) -> Kept:
    """What a training keeps, as it is at that moment."""
    found: Kept = {}

    def keep(member: int, name: str, weights: dict[str, Tensor]) -> None:
        found[member, name] = {key: value.clone() for key, value in weights.items()}

    run(setup, grid, members, checkpointer, keep=keep)
    return found


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_fractions_are_rounded_to_steps_of_at_least_one() -> None:
    assert milestone_steps(Training(steps=10, milestones=(1, 0.26, 0.01, 0.02))) == {
        1: [0.01, 0.02],
        3: [0.26],
        10: [1.0],
    }


def test_they_are_every_members_weights_after_the_step_and_change_nothing_else(
    setup: Setup, grid: Grid, marked: Grid, tmp_path: Path
) -> None:
    without, within = Watched(folders(tmp_path / "a"), STEPS + 1), Watched(folders(tmp_path / "b"), every=2)
    run(setup, grid, [RF, EPS], without)
    found = kept(setup, marked, [RF, EPS], within)
    assert everything(within) == everything(without)
    names = {f"{kind}@{at}" for kind in ("ema", "raw") for at in ("0.25", "0.5", "1")}
    assert found.keys() == {(member, name) for member in (0, 1) for name in names}
    trainer = within.state.trainer
    for member, folder in enumerate(within.folders):
        whole = trainer.flat.whole
        middle = atomic.read_tensors(store.checkpoint_file(folder, 4))[0]
        for name, early, last in (
            ("ema", middle["ema"], trainer.ema),
            ("raw", middle["weights"], trainer.flat.weights),
        ):
            assert same(found[member, f"{name}@0.5"], whole.member(early))
            assert same(found[member, f"{name}@1"], whole.member(last[member]))


@pytest.mark.parametrize("killed", [3, 5, 7])
def test_an_interruption_leaves_the_same_bits(
    setup: Setup, marked: Grid, tmp_path: Path, killed: int
) -> None:
    """Before a milestone, or after one whose step comes again because the last checkpoint is older."""
    whole = kept(setup, marked, [RF, EPS], Watched(folders(tmp_path / "whole"), STEPS + 1))
    places, found = folders(tmp_path / "parts"), Kept()

    def keep(member: int, name: str, weights: dict[str, Tensor]) -> None:
        found[member, name] = {key: value.clone() for key, value in weights.items()}

    with pytest.raises(Killed):
        run(setup, marked, [RF, EPS], Watched(places, every=3, kills=[killed]), keep=keep)
    run(setup, marked, [RF, EPS], Watched(places, every=3), keep=keep)
    assert found.keys() == whole.keys()
    assert all(same(found[key], whole[key]) for key in whole)


def test_a_member_that_has_diverged_passes_no_milestone(setup: Setup, marked: Grid, tmp_path: Path) -> None:
    members = [diverging(RF, 3), EPS]
    found = kept(setup, marked, members, Watched(folders(tmp_path), STEPS + 1))
    assert {name for member, name in found if member == 0} == {"ema@0.25", "raw@0.25"}
    assert {name for member, name in found if member == 1} >= {"ema@0.5", "ema@1"}


@pytest.mark.parametrize("divided", [False, True])
def test_the_first_replica_keeps_them_whole(
    setup: Setup, marked: Grid, tmp_path: Path, divided: bool
) -> None:
    alone = kept(setup, marked, [RF], Watched(folders(tmp_path, 1), STEPS + 1))
    recipe = replace(marked.training, steps=STEPS, validations=3)

    def work(replicas: Replicas) -> None:
        def keep(member: int, name: str, weights: dict[str, Tensor]) -> None:
            atomic.write_tensors(tmp_path / f"{replicas.rank}-{name}.safetensors", weights)

        train(
            [RF],
            setup.shape(marked.model),
            recipe,
            Batches(setup.data, setup.captions, 0, recipe.batch, recipe.dropout, CPU, 0.0, replicas),
            validation_batch(setup.data, setup.captions, recipe.validation_images, CPU),
            0,
            keep=keep,
        )

    assert together(2, work, tmp_path, divided=divided) == [0, 0]
    files = {file.name for file in tmp_path.glob("*@*.safetensors")}
    assert files == {f"0-{name}.safetensors" for _, name in alone}
    for (_, name), weights in alone.items():
        found, _ = atomic.read_tensors(tmp_path / f"0-{name}.safetensors")
        assert found.keys() == weights.keys()
        for key, value in weights.items():
            torch.testing.assert_close(found[key], value, rtol=1e-3, atol=1e-4)
