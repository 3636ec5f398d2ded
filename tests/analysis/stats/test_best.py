"""Hsu's comparison with the best: Dunnett's tables, scipy, the edge of separation, and seeds needed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_t
from scipy.stats import t as student

from analysis.stats.best import critical, gap, not_separable, seeds_needed
from analysis.stats.two_way import TwoWay, fit

# Dunnett (1955), table 1a: one-sided, 5 %, for 1 to 9 comparisons.
TABLE = {
    5: [2.02, 2.44, 2.68, 2.85, 2.98, 3.08, 3.16, 3.24, 3.30],
    10: [1.81, 2.15, 2.34, 2.47, 2.56, 2.64, 2.70, 2.76, 2.81],
    20: [1.72, 2.03, 2.19, 2.30, 2.39, 2.46, 2.51, 2.56, 2.60],
    math.inf: [1.64, 1.92, 2.06, 2.16, 2.23, 2.29, 2.34, 2.38, 2.42],
}


@pytest.mark.parametrize("df", TABLE)
def test_dunnetts_table(df: float) -> None:
    found = [critical(k, df) for k in range(2, 11)]
    np.testing.assert_allclose(found, TABLE[df], atol=0.0061)  # he rounded 1.645 to 1.64


@pytest.mark.parametrize("df", [1, 1.5, 2, 7.3, 58, 1e4])
def test_one_comparison_is_students_t(df: float) -> None:
    assert critical(2, df) == pytest.approx(student.ppf(0.95, df), abs=1e-4)


@pytest.mark.parametrize(("k", "df"), [(4, 6), (6, 10), (9, 3)])
def test_probability_by_another_integration(k: int, df: int) -> None:
    shape = np.full((k - 1, k - 1), 0.5) + 0.5 * np.eye(k - 1)
    rng = np.random.default_rng(0)
    inside = multivariate_t.cdf(
        np.full(k - 1, critical(k, df)), shape=shape, df=df, maxpts=200_000, random_state=rng
    )
    assert inside == pytest.approx(0.95, abs=2e-4)


@pytest.mark.parametrize(("k", "df"), [(30, 2.5), (61, 120), (200, 1)])
def test_probability_by_simulation(k: int, df: float) -> None:
    rng = np.random.default_rng(1)
    z = rng.standard_normal((40_000, k))
    largest = (z[:, 1:].max(axis=1) - z[:, 0]) / math.sqrt(2) / np.sqrt(rng.chisquare(df, 40_000) / df)
    assert (largest <= critical(k, df)).mean() == pytest.approx(0.95, abs=0.0033)  # three standard errors


def test_what_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="k is 1 and df 5"):
        critical(1, 5)
    with pytest.raises(ValueError, match=r"df 0\.5"):
        critical(3, 0.5)


NOISE = np.array(
    [[1.0, -1.0, 0.0], [0.0, 1.0, -1.0], [-1.0, 0.0, 1.0]]
)  # v = 6 / 4, equal in all formulations


def three(*means: float) -> TwoWay:
    return fit(np.array(means)[:, None] + NOISE, ["a", "b", "c"], range(3))


def test_separated_by_more_than_the_gap() -> None:
    least = float(gap(three(0, 0, 0)))
    assert least == pytest.approx(critical(3, 4) * math.sqrt(2 * 1.5 / 3))
    model = three(0.0, -least * 0.999, -least * 1.001)
    assert not_separable(model, True).tolist() == [True, True, False]
    assert not_separable(model, False).tolist() == [False, True, True]


def test_of_one_formulation_there_is_no_gap() -> None:
    alone = fit([[1.0, 2.0, 3.0]], ["a"], range(3))
    assert not_separable(alone, True).tolist() == [True]
    assert np.isnan(gap(alone))


def test_none_counts_as_quieter_than_the_average() -> None:
    rng = np.random.default_rng(0)
    loud = np.where(np.arange(20) % 2, 10.0, 0.1)[:, None]
    y = loud * rng.normal(size=(20, 3))
    model = fit(y, [str(i) for i in range(20)], range(3))
    assert np.isfinite(model.prior_df)
    assert model.moderated.min() < model.variance < model.moderated.max()
    ahead = model.means.max() + 0.999 * float(gap(model))
    moved = fit(y + np.where(np.arange(20) == 0, ahead - y[0].mean(), 0.0)[:, None], model.names, range(3))
    assert not_separable(moved, True)[np.argsort(moved.means)[-2]]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 8), st.integers(2, 4))
def test_the_group_holds_the_best_in_the_sample_and_turns_with_the_direction(
    seed: int, f: int, s: int
) -> None:
    y = np.random.default_rng(seed).normal(size=(f, s)) + 3 * np.random.default_rng(seed).normal(size=(f, 1))
    model, turned = (fit(sign * y, [""] * f, range(s)) for sign in (1, -1))
    together = not_separable(model, True)
    assert together[model.means.argmax()]
    np.testing.assert_array_equal(together, not_separable(turned, False))
    batch = fit(np.stack([y, y + 1]), [""] * f, range(s))
    np.testing.assert_array_equal(not_separable(batch, True), [together, together])


def test_seeds_needed_are_the_fewest() -> None:
    for k, difference in ((2, 0.3), (6, 1.0), (30, 2.4), (30, 0.2)):
        seeds = seeds_needed(difference, 1.0, k)
        assert seeds is not None
        gaps = [critical(k, (k - 1) * (n - 1)) * math.sqrt(2 / n) for n in (seeds - 1, seeds) if n > 1]
        assert gaps[-1] <= difference
        assert len(gaps) == 1 or gaps[0] > difference


def test_seeds_needed_at_the_ends() -> None:
    assert seeds_needed(0.0, 1.0, 5) is None
    assert seeds_needed(0.01, 1.0, 5) is None
    assert seeds_needed(0.01, 1.0, 5, most=100_000) is not None
    assert seeds_needed(1e9, 1.0, 5) == 2
    assert seeds_needed(1.0, 0.0, 5) == 2
