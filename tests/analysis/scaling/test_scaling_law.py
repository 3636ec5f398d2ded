"""The power law: exact where there is no noise, and scipy's optimum where there is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import least_squares

from analysis.scaling import law

Array = NDArray[np.float64]


@pytest.mark.parametrize("decades", [1, 3])
@pytest.mark.parametrize("alpha", [0.05, 0.25, 0.8])
@pytest.mark.parametrize("e", [0.0, 0.3])
def test_a_law_without_noise_is_recovered(decades: int, alpha: float, e: float) -> None:
    x = np.geomspace(10 ** (14 - decades / 2), 10 ** (14 + decades / 2), 6)
    found = law.fit(x, np.log(e + 0.4 * (x / 1e14) ** -alpha))
    assert found.x0 == 1e14
    assert (found.e, found.a, found.alpha) == tuple(pytest.approx(v, abs=1e-3) for v in (e, 0.4, alpha))
    assert found.error < 1e-6
    assert found.at_bound == (e == 0 and found.e == 0, False)


def test_without_a_floor_it_is_the_straight_line_of_polyfit() -> None:
    """Points bent downwards want a negative E, so that E is 0 and the rest a straight line in logarithms."""
    x = np.array([1e12, 4e12, 3e13, 2e14])
    logs = np.log(3.0) - 0.1 * np.log(x / 1e13) - 0.003 * np.log(x / 1e13) ** 2
    found = law.fit(x, logs)
    steepness, level = np.polyfit(np.log(x / found.x0), logs, 1)
    assert found.e == 0
    assert (found.alpha, found.a) == (pytest.approx(-steepness), pytest.approx(np.exp(level)))
    assert law.slope(x, logs) == pytest.approx(-steepness)
    assert found.at_bound == (True, False)


def best_of_many_starts(x: Array, logs: Array, x0: float) -> float:
    """The smallest sum of squares that scipy finds."""
    u, loss = np.log(x / x0), np.exp(logs)

    def residuals(p: Array) -> Array:
        return np.asarray(np.log(p[0] + np.exp(p[1] - p[2] * u)) - logs)

    bounds = ([0.0, -np.inf, law.ALPHA[0]], [np.inf, np.inf, law.ALPHA[1]])
    costs = []
    for alpha in (0.02, 0.15, 0.6, 2.0):
        for share in (0.001, 0.5, 0.95):
            start = [share * loss.min(), np.log((1 - share) * loss.mean()), alpha]
            made = least_squares(residuals, start, bounds=bounds, xtol=1e-14, ftol=1e-14, gtol=1e-14)
            costs.append(2 * made.cost)
    return min(costs)


@settings(max_examples=8)
@given(
    st.integers(0, 10**6),
    st.integers(4, 12),
    st.floats(0.5, 4),
    st.sampled_from([0.0, 0.1, 0.5]),
    st.floats(0.03, 0.7),
)
def test_no_start_of_scipys_finds_a_better_fit(
    seed: int, count: int, decades: float, e: float, alpha: float
) -> None:
    rng = np.random.default_rng(seed)
    x = 10 ** (13 + np.sort(rng.uniform(0, decades, count)))
    x[-1] = 10 ** (13 + decades)
    logs = np.log(e + 0.3 * (x / 1e14) ** -alpha) + 0.003 * rng.normal(size=count)
    found = law.fit(x, logs)
    assert found.error**2 * count <= best_of_many_starts(x, logs, found.x0) * (1 + 1e-6) + 1e-13


def test_many_draws_are_fitted_as_each_alone_in_any_unit_of_the_loss() -> None:
    rng, x = np.random.default_rng(0), np.geomspace(1e12, 1e15, 7)
    logs = (
        np.log(0.2 + 0.3 * (x / 1e13) ** -0.2)
        + 0.01 * rng.normal(size=(5, 7))
        + np.log([[1], [1], [1], [1e9], [1]])
    )
    together = law.fit(x, logs)
    for i in range(5):
        alone = law.fit(x, logs[i])
        assert (together.alpha[i], together.e[i]) == (
            pytest.approx(alone.alpha, rel=1e-6),
            pytest.approx(alone.e, rel=1e-5),
        )
    assert together(x).shape == (5, 7)


def test_points_that_do_not_count_change_nothing() -> None:
    x = np.geomspace(1e12, 1e15, 7)
    logs = np.log(0.2 + 0.3 * (x / 1e13) ** -0.2)
    counted = np.array([True, True, False, True, True, True, True])
    spoilt = np.where(counted, logs, 5.0)
    assert law.fit(x, spoilt, counted).alpha == pytest.approx(0.2, abs=1e-6)


def test_a_loss_that_drops_at_once_is_seen_by_the_end_of_the_range() -> None:
    x = np.array([1e12, 1e13, 1e14, 1e15])
    assert law.fit(x, np.log([2.0, 1.0, 1.0, 1.0])).at_bound == (False, True)
