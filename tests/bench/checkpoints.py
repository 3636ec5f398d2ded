"""Trainings of a moment that are stopped or killed where a test says, and all that they have made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.config.experiment import Grid, Model
from bench.runfolder import store
from bench.training.batches import Batches, validation_batch
from bench.training.checkpoint import Checkpointer, State
from bench.training.train import Keep, train
from bench.worker.setup import Setup
from formulations import Formulation, get

CPU = torch.device("cpu")
STEPS = 8
RF, EPS, EDM = get("rf/lognorm(0,1)"), get("eps/linear"), get("edm(-1.2,1.2)")


class Killed(BaseException):
    """Nothing is saved."""


class Watched(Checkpointer):
    """Saves after every ``every`` steps, is asked to stop or killed at given steps, and keeps the state."""

    def __init__(
        self, folders: Sequence[Path], every: int = 1, stops: Sequence[int] = (), kills: Sequence[int] = ()
    ):
        self.said: list[str] = []
        super().__init__(folders, math.inf, lambda: self.reason, say=self.said.append, pack=["a", "b"])
        self.every, self.stops, self.kills = every, stops, kills
        self.reason: str | None = None

    def load(self, state: State) -> int:
        self.state = state
        self.first = super().load(state)
        return self.first

    def __call__(self, step: int, state: State) -> None:
        if step in self.kills:
            raise Killed
        self.reason = "asked" if step in self.stops else None
        self.seconds = 0.0 if step % self.every == 0 else math.inf
        self.cost = 0.0
        super().__call__(step, state)


def diverging(formulation: Formulation, step: int) -> Formulation:
    """The formulation with a loss that is no number from a step on."""

    def weight(at: Any) -> torch.Tensor:
        weights = torch.ones_like(at.t)
        if at.t.ndim == 2:  # steps x samples
            weights[step:] = float("nan")
        return weights

    return replace(formulation, weight=weight, name=f"dies at {step}")


def run(
    setup: Setup,
    grid: Grid,
    members: Sequence[Formulation],
    checkpointer: Checkpointer,
    model: Model | None = None,
    keep: Keep = lambda member, name, weights: None,
) -> None:
    recipe = replace(grid.training, steps=STEPS, validations=3)
    train(
        members,
        setup.shape(model or grid.model),
        recipe,
        Batches(setup.data, setup.captions, 0, recipe.batch, recipe.dropout, CPU),
        validation_batch(setup.data, setup.captions, recipe.validation_images, CPU),
        0,
        checkpointer=checkpointer,
        keep=keep,
    )


def everything(checkpointer: Watched) -> dict[str, Any]:
    """All that training has made, as bytes; and the lines of metrics without the only thing that may differ."""
    rows = {name: row.numpy().tobytes() for name, row in checkpointer.state.rows().items()}
    lines = [
        [{k: v for k, v in line.items() if k != "seconds"} for line in m] for m in checkpointer.state.lines
    ]
    assert all(line["seconds"] > 0 for member in checkpointer.state.lines for line in member)
    return rows | {"lines": lines}


def folders(root: Path, count: int = 2) -> list[Path]:
    return [root / f"cell{i}" for i in range(count)]


def undisturbed(setup: Setup, grid: Grid, root: Path) -> dict[str, Any]:
    """What RF and EPS become in a training that nothing disturbs."""
    checkpointer = Watched(folders(root), every=STEPS + 1)
    run(setup, grid, [RF, EPS], checkpointer)
    return everything(checkpointer)


def killed(setup: Setup, grid: Grid, root: Path) -> list[Path]:
    """Folders of RF and EPS, killed after 6 of their steps, with checkpoints of the 3rd and the 5th."""
    with pytest.raises(Killed):
        run(setup, grid, [RF, EPS], Watched(folders(root), every=1, kills=[4]))
    for folder in folders(root):
        store.checkpoint_file(folder, 2).unlink()
    with pytest.raises(Killed):
        run(setup, grid, [RF, EPS], Watched(folders(root), every=5, kills=[6]))
    assert [store.checkpoint_steps(folder) for folder in folders(root)] == [[5, 3]] * 2
    return folders(root)
