"""Checkpoints that are cut short, filled with noise or foreign are noticed and said, and change no result."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.config.experiment import Grid
from bench.runfolder import store
from bench.worker.setup import Setup
from flowbench._core import atomic

from ..checkpoints import EPS, RF, STEPS, Killed, Watched, everything, killed, run, undisturbed


@pytest.fixture(scope="module")
def whole(setup: Setup, grid: Grid, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return undisturbed(setup, grid, tmp_path_factory.mktemp("whole"))


@pytest.fixture
def begun(setup: Setup, grid: Grid, tmp_path: Path) -> list[Path]:
    """With checkpoints of the 3rd and the 5th step of RF and EPS."""
    return killed(setup, grid, tmp_path)


def cut(content: bytearray) -> bytearray:
    return content[: len(content) // 2]


def empty(content: bytearray) -> bytearray:
    return bytearray()


def header(content: bytearray) -> bytearray:
    content[8:200] = random.Random(0).randbytes(192)
    return content


def length(content: bytearray) -> bytearray:
    content[:8] = b"\xff" * 8
    return content


def bit(content: bytearray) -> bytearray:
    content[-1] ^= 1
    return content


def loss(content: bytearray) -> bytearray:
    at = content.index(b"train_loss") + 16
    content[at] = ord("1") if content[at] != ord("1") else ord("2")
    return content


DAMAGES = [cut, empty, header, length, bit, loss]


@pytest.mark.parametrize("member", [0, 1])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_is_used(
    damage: Callable[[bytearray], bytearray],
    member: int,
    setup: Setup,
    grid: Grid,
    begun: list[Path],
    whole: dict[str, Any],
) -> None:
    file = store.checkpoint_file(begun[member], 5)
    file.write_bytes(damage(bytearray(file.read_bytes())))
    checkpointer = Watched(begun, every=STEPS)
    run(setup, grid, [RF, EPS], checkpointer)
    assert checkpointer.said[0].startswith(f"the checkpoint of step 5 is not used: {file} cannot be read")
    assert checkpointer.said[1:] == ["continuing at step 3"]
    assert everything(checkpointer) == whole


def test_a_checkpoint_under_another_step_s_name_is_not_used(
    setup: Setup, grid: Grid, begun: list[Path], whole: dict[str, Any]
) -> None:
    for folder in begun:
        store.checkpoint_file(folder, 5).rename(store.checkpoint_file(folder, 6))
    checkpointer = Watched(begun, every=STEPS)
    run(setup, grid, [RF, EPS], checkpointer)
    assert checkpointer.said == [
        "the checkpoint of step 6 is not used: it is of another step",
        "continuing at step 3",
    ]
    assert everything(checkpointer) == whole


def test_with_both_generations_damaged_it_begins_anew_and_its_new_checkpoints_are_kept(
    setup: Setup, grid: Grid, begun: list[Path], whole: dict[str, Any]
) -> None:
    """Those of the old training are of later steps, and must not be taken for the newest."""
    for file in begun[1].glob("checkpoint-*"):
        file.write_bytes(file.read_bytes()[:-1])
    checkpointer = Watched(begun, kills=[3])
    with pytest.raises(Killed):
        run(setup, grid, [RF, EPS], checkpointer)
    assert [text.partition(" is not used")[0] for text in checkpointer.said] == [
        "the checkpoint of step 5",
        "the checkpoint of step 3",
    ]
    assert checkpointer.first == 0
    assert [store.checkpoint_steps(folder) for folder in begun] == [[2, 1]] * 2
    last = Watched(begun)
    run(setup, grid, [RF, EPS], last)
    assert last.said == ["continuing at step 2"]
    assert everything(last) == whole


def test_another_model_s_checkpoint_is_not_used(setup: Setup, grid: Grid, begun: list[Path]) -> None:
    checkpointer = Watched(begun, every=STEPS)
    run(setup, grid, [RF, EPS], checkpointer, replace(grid.model, width=64))
    assert [text.partition(": ")[2] for text in checkpointer.said] == ["it is of another model"] * 2
    assert checkpointer.first == 0


@settings(max_examples=150)
@given(place=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_no_changed_byte_of_a_file_of_tensors_goes_unnoticed(
    place: int, flip: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "bytes"
    file = folder / "whole.safetensors"
    if not file.exists():
        folder.mkdir()
        tensors = {"a": torch.arange(6.0), "b": torch.tensor(True), "c": torch.tensor([1, 2])}
        atomic.write_tensors(
            file, tensors, {"step": 3, "seconds": 1.5, "lines": [{"x": None}], "pack": ["a"]}
        )
    content = bytearray(file.read_bytes())
    content[place % len(content)] ^= flip
    changed = folder / "changed.safetensors"
    changed.write_bytes(content)
    try:
        tensors, about = atomic.read_tensors(changed)
    except atomic.Damaged:
        return
    again, same = atomic.read_tensors(file)
    assert about == same
    assert tensors.keys() == again.keys()
    assert all(torch.equal(tensors[name], again[name]) for name in again)
