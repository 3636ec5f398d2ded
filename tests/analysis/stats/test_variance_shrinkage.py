"""Moderated variances: the moments that define them, recovery of a known prior, and the extremes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import digamma, polygamma
from scipy.stats import f as f_distribution

from analysis.stats.variance_shrinkage import inverse_trigamma, moderate


@settings(max_examples=100, deadline=None)
@given(st.floats(1e-9, 1e9))
def test_inverse_of_trigamma(x: float) -> None:
    assert polygamma(1, float(inverse_trigamma(x))) == pytest.approx(x, rel=1e-6)


def test_the_prior_has_the_mean_and_the_variance_of_the_logarithms() -> None:
    # s^2 is s0^2 times an F distribution of (d, d0) degrees; its logarithm has these moments.
    variances, d = np.array([0.1, 2.0, 0.7, 5.0, 0.02, 1.0]), 2
    found = moderate(variances, d)
    half = float(found.prior_df) / 2
    assert polygamma(1, half) + polygamma(1, d / 2) == pytest.approx(np.log(variances).var(ddof=1))
    mean = np.log(found.prior_variance) + digamma(d / 2) - np.log(d / 2) - digamma(half) + np.log(half)
    assert mean == pytest.approx(np.log(variances).mean())
    weight = d / (d + 2 * half)
    np.testing.assert_allclose(found.variances, weight * variances + (1 - weight) * found.prior_variance)


@pytest.mark.parametrize(("d", "d0", "s0"), [(2, 6.0, 0.5), (4, 3.0, 10.0)])
def test_recovers_a_known_prior(d: int, d0: float, s0: float) -> None:
    sample = s0 * f_distribution(d, d0).rvs(size=40_000, random_state=np.random.default_rng(0))
    found = moderate(sample, d)
    assert found.prior_df == pytest.approx(d0, rel=0.1)
    assert found.prior_variance == pytest.approx(s0, rel=0.03)


def test_variances_that_chance_explains_are_pooled() -> None:
    found = moderate([0.9, 1.0, 1.1, 1.2], 2)
    assert np.isinf(found.prior_df)
    np.testing.assert_allclose(found.variances, 1.05)


def test_zeros_and_a_single_variance() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert moderate([0.0, 0.0, 0.0], 2).variances.tolist() == [0, 0, 0]
        assert moderate([3.0], 2).variances.tolist() == [3]
        some = moderate([0.0, 1.0, 1.0, 1.0, 1.0, 1.0], 2).variances
    assert 0 < some[0] < some[1]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=8), st.floats(1e-6, 1e6))
def test_keeps_order_and_scale(variances: list[float], scale: float) -> None:
    found = moderate(variances, 2)
    order = np.argsort(variances)
    assert (np.diff(found.variances[order]) >= -1e-9 * np.max(variances)).all()
    scaled = moderate(np.multiply(variances, scale), 2)
    np.testing.assert_allclose(scaled.variances, scale * found.variances, rtol=1e-6)


def test_many_at_once() -> None:
    several = np.random.default_rng(0).chisquare(2, size=(3, 4, 9)) ** 2
    together = moderate(several, 2)
    for i, j in np.ndindex(3, 4):
        np.testing.assert_allclose(together.variances[i, j], moderate(several[i, j], 2).variances)
