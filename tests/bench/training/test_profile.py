"""What a run folder holds on a formulation: words and short curves, which nothing depends on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.config.experiment import Cell
from bench.training.loss_profile import POINTS, profile
from bench.worker.provenance import inputs, verify, verify_unfinished
from bench.worker.setup import Setup
from flowbench._core import atomic
from formulations import Formulation, get, names
from formulations.profile import budget

CLOCK = (np.arange(256) + 0.5) / 256


@pytest.mark.parametrize("name", names("all"))
def test_curves_are_finite_and_integrate_to_one(name: str) -> None:
    found = profile(get(name))
    np.testing.assert_allclose(found["clock"], CLOCK, rtol=1e-5)
    for curve in (found["density"], found["budget"]):
        assert len(curve) == POINTS == 256
        assert min(curve) >= 0
        assert np.mean(curve) == pytest.approx(1, abs=0.1), "some are infinite at a place"
        assert all(value == float(f"{value:.6g}") for value in curve)


@pytest.mark.parametrize(
    "name", ["rf", "rf/cauchy(0,1)", "rf/mode(1.29)", "eps/linear", "edm(-1.2,1.2)", "u/cos"]
)
def test_the_budget_is_that_of_the_training(name: str) -> None:
    expected = 64 * np.array(budget(get(name), 64))
    found = np.array(profile(get(name))["budget"]).reshape(64, 4).mean(axis=1)
    inside = slice(1, -1)  # Cauchy times have an infinite density at the ends
    np.testing.assert_allclose(found[inside], expected[inside], atol=0.015 * expected.max())


def test_density_of_a_normal_law() -> None:
    z = (np.log(CLOCK / (1 - CLOCK)) - 0.5) / 0.6
    expected = np.exp(-(z**2) / 2) / (np.sqrt(2 * np.pi) * 0.6 * CLOCK * (1 - CLOCK))
    found = profile(get("rf/lognorm(0.5,0.6)"))
    trained = np.array(found["density"]) > 0
    np.testing.assert_allclose(np.array(found["density"])[trained], expected[trained], rtol=1e-3, atol=1e-5)
    assert expected[~trained].sum() / 256 < 2e-5, "the tails beyond the quantiles"
    np.testing.assert_allclose(
        found["budget"], found["density"], rtol=1e-4, err_msg="of velocities, all count alike"
    )


def test_a_curriculum_is_averaged_over_the_training() -> None:
    first, last = (np.array(profile(get(name))["density"]) for name in ("rf/lognorm(0,1)", "rf"))
    both = profile(get("rf/curriculum(lognorm(0,1),.25)"))["density"]
    np.testing.assert_allclose(both, 0.25 * first + 0.75 * last, atol=1e-5)


def test_words() -> None:
    assert profile(get("v/cos"))["formula"] == (
        "a = cos(pi t/2), b = sin(pi t/2); output -b x + a n; times uniform: t = u; density 1."
    )
    weighted = profile(get("rf/lognorm(0,1)+minsnr(5)"))["formula"]
    assert "weight min(SNR, g) |dx|^2; times lognorm(0.00,1.00): t = sigmoid(m + s N^-1(u))" in weighted
    mine = Formulation(path=lambda t: (1 - t, t), target=lambda at: (at.da, at.db), name="mine")
    assert profile(mine)["formula"].startswith("times uniform")


def test_a_weight_of_nothing_has_no_curves() -> None:
    mine = Formulation(
        path=lambda t: (1 - t, t),
        target=lambda at: (at.da, at.db),
        weight=lambda at: 0 * at.t,
        formula="nothing",
    )
    assert set(profile(mine)) == {"formula"}


def test_a_cell_is_the_same_whatever_its_profile(setup: Setup, tmp_path: Path) -> None:
    cell = Cell("rf", "shapes")
    known = inputs(setup, cell)
    for about in ({}, {"profile": {"formula": "another"}}):
        atomic.write_json(tmp_path / "config.json", {**known, **about})
        verify(tmp_path, setup, cell)
        verify_unfinished(tmp_path, setup, cell)
