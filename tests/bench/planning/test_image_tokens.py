"""Shifts that depend on image tokens become numbers before cells are made of a grid."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import compare, data
from bench.config.experiment import Evaluation, Grid, Images, Model
from bench.config.sampling_settings import parse
from bench.grid import with_metrics
from bench.planning.cells import cells_of
from bench.planning.decision import Decision
from bench.planning.image_tokens import resolved
from bench.planning.plan import Against
from flowbench._core.errors import UserError

GRID = Grid(
    formulations=("rf/sd3shift(64,lognorm(0,1))", "v/cos"),
    datasets=("shapes",),
    evaluation=Evaluation(tuple(map(parse, ("5:1", "5:1:euler:fluxshift", "5:1:euler:sd3shift(64)")))),
    images=Images(32),
)
"""256 image tokens."""


def test_cells_and_settings_hold_numbers() -> None:
    grid = with_metrics(GRID)
    assert [cell.formulation for cell in cells_of(grid)] == ["rf/shift(2.00,lognorm(0.00,1.00))", "v/cos"]
    assert [s.grid for s in grid.evaluation.settings] == ["native", "shift(1.649)", "shift(2)"]
    assert resolved(grid) == grid


def test_the_number_is_that_of_the_patches() -> None:
    coarse = resolved(replace(GRID, model=Model(patch=4)))
    assert coarse.formulations[0] == "rf/shift(1.00,lognorm(0.00,1.00))"
    crossed = resolved(replace(GRID, formulations=("rf",), samplers=("fluxshift",)))
    assert [cell.formulation for cell in cells_of(crossed)] == ["rf/shift(1.649)"]


def test_a_grid_without_them_is_left_as_it_is() -> None:
    usual = Grid(datasets=("a dataset that is not there",))
    assert resolved(usual) is usual


def test_networks_of_several_sizes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = data.get("digits")
    monkeypatch.setattr(type(digits), "shape", lambda self, resolution: (1, 8, 8))
    with pytest.raises(
        UserError, match="here it is 256 on shapes, 16 on digits: run the datasets one by one"
    ):
        resolved(replace(GRID, datasets=("shapes", "digits")))


def test_a_comparison_names_them_too() -> None:
    found = compare.parse(
        ["rf/fluxshift", "rf", "--resolution", "32", "--patch", "2", "--baseline", "rf/sd3shift(64)"]
    )
    assert found.grid.formulations == ("rf/shift(1.649)", "rf", "rf/shift(2.00)")
    assert found.against == Against("rf/shift(2.00)", Decision())
