"""The interval of a correlation over runs is of their true means, whatever the noise of their seeds."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.scaling import noise
from analysis.scaling.correlation import true_ends, true_means
from analysis.stats.association import Array, pearson, spearman

RUNS, SEEDS, TABLES = 8, 3, 60


def tables(correlation: float, spread: float) -> list[tuple[Array, Array, Array]]:
    """Of each simulated table the true means ``[R, 2]``, the measured ones, and draws of other seeds."""
    rng, found = np.random.default_rng(5), []
    for i in range(TABLES):
        x = np.linspace(-1.6, 1.6, RUNS)
        other = correlation * x + np.sqrt(1 - correlation**2) * rng.standard_normal(RUNS)
        true = np.stack([x, other], axis=-1)
        seen = true[:, None, :] + spread * rng.standard_normal((RUNS, SEEDS, 2))
        a, b = noise.means({"a": seen[..., 0], "b": seen[..., 1]}, draws=400, seed=i).values()
        assert a.draws is not None
        assert b.draws is not None
        measured, drawn = np.stack([a.values, b.values], axis=-1), np.stack([a.draws, b.draws], axis=-1)
        found.append((true, measured, drawn))
    return found


@pytest.mark.parametrize("measure", [spearman, pearson])
@pytest.mark.parametrize(("correlation", "spread"), [(0.95, 0.05), (0.95, 0.7), (0.5, 0.7)])
def test_it_holds_the_true_correlation(measure: object, correlation: float, spread: float) -> None:
    """Also where the noise of a seed is most of what runs differ by: percentiles of draws hold it there in a few percent."""
    held = stretched = 0
    for true, measured, drawn in tables(correlation, spread):
        low, high = true_ends(measure, measured, drawn)  # type: ignore[arg-type]
        held += low - 1e-9 <= measure(*true.T) <= high + 1e-9  # type: ignore[operator]
        stretched += not low <= measure(*measured.T) <= high  # type: ignore[operator]
    assert held >= 0.9 * TABLES
    assert stretched <= 0.1 * TABLES, "the measured one is not at an end"


def test_without_noise_the_true_means_are_the_measured_ones() -> None:
    measured = np.random.default_rng(0).standard_normal((RUNS, 2))
    found = true_means(measured, np.repeat(measured[None], 50, axis=0))
    np.testing.assert_allclose(
        found, np.broadcast_to(measured - measured.mean(axis=0), found.shape), atol=1e-6
    )
