"""The compute frontier and the depth that reaches it, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from analysis.scaling import fits, frontier, noise
from analysis.scaling.scaling_runs import Runs

Array = NDArray[np.float64]
DEPTH = np.array([1, 1, 1, 2, 2])
COMPUTE = np.array([1e12, 1e13, 1e14, 1e13, 1e15])
LOGS = np.array([0.0, -1.0, -1.2, -0.9, -2.9])
"""Depth 1 flattens out; depth 2 falls by 1 a decade from -0.9 on, so that it reaches -1.9 where depth 1 has -1.2."""


def made(values: Array | None = None, depth: Array = DEPTH, compute: Array = COMPUTE) -> Runs:
    steps = [100, 1000, 10_000, 200, 20_000]
    table = pd.DataFrame(
        {"depth": depth, "steps": steps, "parameters": 1e5 * depth**3, "train_flops": compute}
    )
    losses = np.exp(LOGS)[:, None] if values is None else values
    return Runs(
        "rf", "made up", tuple(range(losses.shape[1])), table, {"val_loss": losses}, pd.DataFrame(), ()
    )


def loss_of(runs: Runs) -> noise.Means:
    return noise.means(runs.values, {"val_loss"})["val_loss"]


def test_a_depth_reaches_what_lies_on_its_line_and_nothing_beyond() -> None:
    depths, there = frontier.reached(np.array([1e12, 10**12.5, 1e14, 1e15, 1e16]), DEPTH, COMPUTE, LOGS)
    assert list(depths) == [1, 2]
    assert there[0] == pytest.approx([0.0, -0.5, -1.2, np.nan, np.nan], nan_ok=True)
    assert there[1] == pytest.approx([np.nan, np.nan, -1.9, -2.9, np.nan], nan_ok=True)


def test_a_depth_with_one_run_reaches_it_alone() -> None:
    _, there = frontier.reached(np.array([1e12, 1e13]), np.array([1]), np.array([1e13]), np.array([-1.0]))
    assert there[0] == pytest.approx([np.nan, -1.0], nan_ok=True)


def test_on_the_frontier_is_what_no_line_and_no_cheaper_run_beats() -> None:
    """At 1e13 depth 1 is lower than depth 2; at 1e14 the line of depth 2 is below the run of depth 1."""
    assert list(frontier.on_frontier(DEPTH, COMPUTE, LOGS)) == [True, True, False, False, True]
    worse = LOGS.copy()
    worse[4] = -1.0
    assert list(frontier.on_frontier(DEPTH, COMPUTE, worse)) == [True, True, True, False, False]
    both = frontier.on_frontier(DEPTH, COMPUTE, np.stack([LOGS, worse]))
    assert both.sum(axis=1).tolist() == [3, 3]


def test_the_best_depth_at_each_round_compute_that_two_reach() -> None:
    """The lines cross at 10^13.125: -1 - 0.2 d and -0.9 - d are equal at d = 1/8."""
    table = frontier.optimal(made(), loss_of(made()))
    assert list(table["train_flops"]) == [1e13, 1.5e13, 2e13, 3e13, 5e13, 7e13, 1e14]
    assert list(table["depth"]) == [1, 2, 2, 2, 2, 2, 2]
    assert table["val_loss"].iloc[-1] == pytest.approx(np.exp(-1.9))
    assert (table["compared"] == 2).all()
    assert table["frequency"].isna().all()


def test_how_often_a_depth_is_best_depends_on_the_noise() -> None:
    rng = np.random.default_rng(0)
    sharp, vague = (made(np.exp(LOGS[:, None] + size * rng.normal(size=(5, 4)))) for size in (1e-4, 0.3))
    table = frontier.optimal(sharp, loss_of(sharp))
    assert (table["frequency"] == 1).all()
    assert table["rival"].isna().all()
    table = frontier.optimal(vague, loss_of(vague))
    assert table["frequency"].between(0.3, 0.999).any()
    assert (table["frequency"] + table["rival_frequency"]).to_numpy() == pytest.approx(1)
    assert (table["rival"] != table["depth"]).all()


def test_depths_that_do_not_overlap_are_not_compared() -> None:
    apart = made(compute=np.array([1e12, 1e13, 1e14, 2e14, 1e15]))
    assert frontier.optimal(apart, loss_of(apart)).empty


@pytest.mark.parametrize(
    ("compute", "losses", "words"),
    [
        ([1e12, 1e13, 1e14, 2e14, 1e15], [4.0, 3.0, 2.5, 2.4, 2.2], []),
        ([1e12, 2e12, 4e12, 8e12, 2e13], [4.0, 3.5, 3.2, 3.0, 2.9], ["spans 1.3 decades"]),
        ([1e12, 1e13, 1e14, 2e14, 1e15], [4.0, 3.0, 2.5, 2.4, 2.6], ["4 runs on the frontier"]),
        ([1e12, 1e13, 1e14, 2e14, 1e15], [4.0, 3.0, 2.2, 2.0, 1.4], ["E is 0"]),
        ([1e12, 1e13, 1e14, 2e14, 1e15], [4.0, 3.0, 2.9999999, 2.9999998, 2.9999997], ["alpha is at an end"]),
        (
            [1e12, 1e13, 1e14, 2e14, 1e15],
            [4.0, 3.0, 3.1, 3.1, 3.1],
            ["no law: the compute frontier has 2 runs"],
        ),
        (
            [1e12, 1e13, 1e14, 2e14, 1e15],
            [4.0, 3.0, 2.5, 2.6, 2.6],
            ["no law: the compute frontier has 3 runs, and a law of 3 constants passes through any 3 points"],
        ),
    ],
)
def test_a_doubtful_law_is_marked(compute: list[float], losses: list[float], words: list[str]) -> None:
    runs = made(np.array(losses)[:, None], depth=np.arange(1, 6), compute=np.array(compute))
    found = fits.frontier(runs, loss_of(runs))
    assert len(found.warnings) == len(words)
    for word, warning in zip(words, found.warnings, strict=True):
        assert word in warning
    assert (found.law is None) == any("no law" in word for word in words)
    assert found.band(np.array([1e13])) is None


def test_an_interval_that_ends_at_its_bound_is_marked() -> None:
    losses = np.array([4.0, 3.0, 2.3, 2.2, 1.9])[:, None] * np.exp(
        0.05 * np.random.default_rng(2).normal(size=(5, 3))
    )
    runs = made(losses, depth=np.arange(1, 6), compute=np.array([1e12, 1e13, 1e14, 2e14, 1e15]))
    found = fits.frontier(runs, loss_of(runs))
    assert found.law is not None
    assert found.law.e > 0
    assert any("interval of E ends at 0" in warning for warning in found.warnings)


def test_slopes_against_parameters_and_steps_are_those_of_polyfit() -> None:
    """Parameters at the largest number of steps that three depths have; steps at every depth with three runs."""
    depth, steps = np.array([1, 1, 1, 2, 2, 2, 3, 3]), np.array([100, 1000, 9000, 100, 1000, 9000, 100, 1000])
    losses = np.array([4.0, 3.0, 2.8, 3.5, 2.5, 2.4, 3.3, 2.3])
    table = pd.DataFrame(
        {"depth": depth, "steps": steps, "parameters": 1e5 * depth**3, "train_flops": 1e9 * depth * steps}
    )
    runs = Runs("rf", "made up", (0,), table, {"val_loss": losses[:, None]}, pd.DataFrame(), ())
    laws = fits.table(runs, loss_of(runs), fits.frontier(runs, loss_of(runs))).set_index("against")["alpha"]
    for name, x, here in (
        ("parameters, at 1000 steps", 1e5 * depth**3, steps == 1000),
        ("steps, at depth 2", steps, depth == 2),
    ):
        expected = -np.polyfit(np.log(x[here]), np.log(losses[here]), 1)[0]
        assert laws[name] == pytest.approx(expected)
    assert "steps, at depth 3" not in laws
