"""The draws of other seeds: by hand, against the closed intervals, and by simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from analysis.scaling import fits, noise
from analysis.scaling.scaling_runs import Runs
from analysis.stats import two_way as stats

Array = NDArray[np.float64]


def runs(depth: list[int], compute: Array, losses: Array) -> Runs:
    """Runs with losses ``[R, S]``."""
    steps = [1000 + i for i in range(len(depth))]
    table = pd.DataFrame({"depth": depth, "steps": steps, "parameters": 1e6, "train_flops": compute})
    return Runs(
        "rf", "made up", tuple(range(losses.shape[1])), table, {"val_loss": losses}, pd.DataFrame(), ()
    )


def test_a_mean_is_corrected_for_the_luck_of_a_seed_that_its_run_lacks() -> None:
    """Seeds are off by -1, 0 and 1; the last run has only the lucky seed, which made it look better by 1."""
    values = np.array([[1.0, 2, 3], [11, 12, 13], [21, 22, 23], [31, np.nan, np.nan]])
    found = noise.means({"clip": values})["clip"]
    assert found.values == pytest.approx([2, 12, 22, 32])
    assert list(found.seeds) == [3, 3, 3, 1]
    assert found.low is not None
    assert list(np.isnan(found.low)) == [False, False, False, True]


def test_losses_are_averaged_as_logarithms() -> None:
    found = noise.means(
        {"val_loss": np.array([[1.0, 4.0], [2.0, 8.0]]), "clip": np.array([[1.0, 4.0], [2.0, 9.0]])},
        {"val_loss"},
    )
    assert found["val_loss"].values == pytest.approx(np.log([2.0, 4.0]))
    assert found["clip"].values == pytest.approx([2.5, 5.5])


@pytest.mark.parametrize("shape", [(5, 1), (1, 3)])
def test_without_two_runs_that_share_two_seeds_there_are_means_only(shape: tuple[int, int]) -> None:
    found = noise.means({"clip": np.arange(shape[0] * shape[1], dtype=float).reshape(shape)})["clip"]
    assert found.draws is None
    assert found.low is None
    assert len(found.values) == shape[0]


def test_draws_spread_as_the_closed_intervals_do_and_share_the_luck_of_seeds() -> None:
    rng = np.random.default_rng(0)
    values = np.arange(6.0)[:, None] + 2 * rng.normal(size=(1, 5)) + rng.normal(size=(6, 5))
    found = noise.means({"clip": values}, draws=20_000)["clip"]
    assert found.draws is not None
    assert found.low is not None
    low, high = np.percentile(found.draws, [2.5, 97.5], axis=0)
    assert found.draws.mean(axis=0) == pytest.approx(found.values, abs=0.1)
    model = stats.fit(values, [""] * 6, range(5))
    quiet = model.bounded == model.moderated  # others have wider intervals than the draws
    assert 0 < quiet.sum() < 6
    assert low[quiet] == pytest.approx(found.low[quiet], abs=0.12 * (high - low).max())
    assert (low > found.low - 0.02 * (high - low)).all()
    residual = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    apart = found.draws[:, 0] - found.draws[:, 1]  # the luck of seeds drops out
    assert apart.var() == pytest.approx(2 * (residual**2).sum() / 20 / 5 * 20 / 18, rel=0.1)


def test_responses_are_drawn_together_as_their_seeds_and_residuals_go() -> None:
    rng = np.random.default_rng(1)
    clip = rng.normal(size=(8, 6)) + rng.normal(size=(1, 6))
    found = noise.means({"clip": clip, "composition": 0.5 - clip}, draws=4000)
    one, other = found["clip"].draws, found["composition"].draws
    assert one is not None
    assert other is not None
    assert np.corrcoef(one[:, 0] - one[:, 1], other[:, 0] - other[:, 1])[0, 1] < -0.95
    assert np.corrcoef(one.mean(axis=1), other.mean(axis=1))[0, 1] < -0.95


def test_noise_that_is_zero_draws_the_means() -> None:
    found = noise.means({"clip": np.arange(4.0)[:, None] + np.zeros(3)}, draws=10)["clip"]
    assert found.draws == pytest.approx(np.tile(np.arange(4.0), (10, 1)))


@pytest.mark.long
@pytest.mark.parametrize(("decades", "share"), [(2.0, 0.0), (2.5, 0.5)])
def test_the_interval_of_alpha_covers_the_truth_with_three_seeds(decades: float, share: float) -> None:
    """0.3 % noise between seeds, a part of it common to all runs of a seed; a run for each of eight depths."""
    rng, alpha, covered, repeats = np.random.default_rng(int(decades * 10)), 0.25, 0, 250
    compute = np.geomspace(10 ** (14 - decades / 2), 10 ** (14 + decades / 2), 8)
    true = np.log(0.5 + 0.3 * (compute / 1e14) ** -alpha)[:, None]
    for i in range(repeats):
        luck = np.sqrt(share) * rng.normal(size=(1, 3)) + np.sqrt(1 - share) * rng.normal(size=(8, 3))
        made = runs(list(range(8)), compute, np.exp(true + 0.003 * luck))
        loss = noise.means(made.values, {"val_loss"}, draws=250, seed=i)["val_loss"]
        row = fits.table(made, loss, fits.frontier(made, loss)).iloc[0]
        covered += row["alpha_low"] <= alpha <= row["alpha_high"]
    assert 0.92 <= covered / repeats <= 0.98
