"""Stages of training in words: what each changes, as its option has it."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from analysis.runs.training_stages import described
from bench.config import stages
from bench.config.experiment import Grid
from bench.config.identity import canonical
from bench.planning.cells import cells_of


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ["steps=200,lr=1e-4"],
            "trained in 2 stages: 20,000 steps, then from its ema weights steps=200,lr=0.0001",
        ),
        (
            ["dataset=digits,weights=raw,betas=0.8,0.9", "dataset=scenes"],
            "trained in 3 stages: 20,000 steps on shapes, then from its raw weights betas=0.8,0.9 on digits, "
            "then from its ema weights the same again",
        ),
    ],
)
def test_each_stage_has_what_it_changes(options: list[str], line: str) -> None:
    grid = Grid(formulations=("rf", "v/cos"))
    for option in options:
        grid = stages.follow(grid, option)
    recipes = [canonical(cell.recipe) for cell in cells_of(grid)]
    assert described(pd.DataFrame({"recipe": recipes})) == (line,)


def test_a_training_from_scratch_has_none() -> None:
    recipes = [canonical(cell.recipe) for cell in cells_of(replace(Grid(), formulations=("rf",)))]
    assert described(pd.DataFrame({"recipe": recipes})) == ()
    assert described(pd.DataFrame({"formulation": ["rf"]})) == ()
