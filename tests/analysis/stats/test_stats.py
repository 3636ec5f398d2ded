"""The two-way model: worked by hand, against statsmodels and scipy, and what must not change it."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats as scipy_stats

from analysis.stats import simulate
from analysis.stats.two_way import TwoWay, complete, fit


def model(y: np.ndarray) -> TwoWay:
    return fit(y, [f"f{i}" for i in range(y.shape[-2])], range(y.shape[-1]))


def noisy(formulations: int, seeds: int, shared: float = 1.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(formulations, seeds)) + shared * rng.normal(size=(1, seeds))


def long(y: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame([{"f": f"f{f}", "s": f"s{s}", "y": y[f, s]} for f, s in np.ndindex(*y.shape)])


def test_worked_by_hand() -> None:
    # f0: 1, 3 and f1: 4, 8. Means 2 and 6, the seeds' shift -1.5 and +1.5, residuals +-0.5: v = 4 * 0.25 / 1 = 1.
    found = model(np.array([[1.0, 3.0], [4.0, 8.0]]))
    np.testing.assert_allclose(found.means, [2, 6])
    np.testing.assert_allclose(found.residuals, [[0.5, -0.5], [-0.5, 0.5]])
    assert (found.variance, found.df) == (1.0, 1)
    # Seed means 2.5 and 5.5: variance 4.5 over seeds, and 1 / 2 of it is noise.
    assert found.shared == pytest.approx(4.5)
    assert found.seed_variance == pytest.approx(4.0)
    assert found.correlation == pytest.approx(4 / 5)
    # 6 - 2 with t_{0.975, 1} = 12.7062 and the standard error sqrt(2 * 1 / 2).
    apart = found.differences(0)
    np.testing.assert_allclose([apart.estimate[1], apart.low[1]], [4, 4 - 12.7062], rtol=1e-5)
    np.testing.assert_allclose([apart.low[0], apart.high[0]], [0, 0])


def test_agrees_with_least_squares() -> None:
    # Residuals of one size in all formulations, so that no variance is moderated.
    shape = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0], [-1.0, 0.0, 1.0]])
    y = shape + np.array([[3.0], [5.0], [4.5]]) + np.array([0.3, -0.7, 2.0])
    found, ols = model(y), smf.ols("y ~ C(f) + C(s)", long(y)).fit()
    assert found.variance == pytest.approx(ols.mse_resid)
    assert found.df == ols.df_resid
    assert np.isinf(found.prior_df)
    np.testing.assert_allclose(found.residuals.ravel(), ols.resid, atol=1e-12)
    apart, reference = found.differences(0), ols.conf_int().loc[["C(f)[T.f1]", "C(f)[T.f2]"]].to_numpy()
    np.testing.assert_allclose(apart.estimate[1:], reference.mean(axis=1))
    # The pooled t interval, but no narrower than each formulation's own of 93 %, with two degrees of freedom.
    wider = scipy_stats.t.ppf(0.965, 2) / scipy_stats.t.ppf(0.975, 4)
    np.testing.assert_allclose((apart.high - apart.low)[1:], wider * np.diff(reference)[:, 0])


def test_variance_of_seeds_is_that_of_restricted_maximum_likelihood() -> None:
    y = noisy(5, 4, shared=2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a variance of four groups
        mixed = smf.mixedlm("y ~ C(f)", long(y), groups="s").fit(reml=True)
    found = model(y)
    assert found.seed_variance == pytest.approx(float(mixed.cov_re.iloc[0, 0]), rel=1e-3)
    assert found.variance == pytest.approx(float(mixed.scale), rel=1e-3)


def test_luck_that_all_formulations_share_moves_levels_and_no_difference() -> None:
    y = noisy(6, 3, shared=0.0)
    alone, shared = model(y), model(y + np.array([10.0, 0.0, -10.0]))
    for one, other in zip(
        (alone.differences(2).low, alone.moderated),
        (shared.differences(2).low, shared.moderated),
        strict=True,
    ):
        np.testing.assert_allclose(one, other)
    width = [m.levels().high - m.levels().low for m in (alone, shared)]
    assert (width[1] > 5 * width[0]).all()
    assert shared.correlation > 0.9


def test_a_level_is_the_t_interval_where_all_noise_is_shared_or_there_is_one_formulation() -> None:
    one = np.array([[1.0, 4.0, 2.0, 7.0]])
    reference = scipy_stats.ttest_1samp(one[0], 0).confidence_interval(0.95)
    for y in (one, np.repeat(one, 3, axis=0)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            level = model(y).levels()
        np.testing.assert_allclose(level.low, reference.low)
        np.testing.assert_allclose(level.high, reference.high)
    assert np.isnan(model(one).variance)
    assert model(one).df == 0


def test_a_noisy_formulation_has_wider_differences() -> None:
    y = np.random.default_rng(1).normal(size=(30, 5)) * np.where(np.arange(30) == 7, 8.0, 1.0)[:, None]
    apart = model(y).differences(0)
    width = apart.high - apart.low
    assert width[7] > 2 * np.delete(width, [0, 7]).max()


def test_where_nothing_varies_everything_is_known() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = model(np.repeat([[1.0], [2.0], [4.0]], 3, axis=1))
        level, apart = found.levels(), found.differences(0)
    np.testing.assert_array_equal([level.low, level.high], [[1, 2, 4], [1, 2, 4]])
    np.testing.assert_array_equal([apart.low, apart.high], [[0, 1, 3], [0, 1, 3]])
    assert np.isnan(found.correlation)


def test_many_tables_at_once() -> None:
    tables = np.stack([noisy(5, 3, seed=i) for i in range(4)]).reshape(2, 2, 5, 3)
    together = model(tables)
    for i, j in np.ndindex(2, 2):
        alone = model(tables[i, j])
        np.testing.assert_allclose(together.levels()[i, j].low, alone.levels().low)
        np.testing.assert_allclose(together.differences(3)[i, j].high, alone.differences(3).high)
        assert together.correlation[i, j] == pytest.approx(float(alone.correlation))


def test_a_table_must_be_complete() -> None:
    with pytest.raises(ValueError, match=r"\[..., 3, 1\] with two seeds or more"):
        model(np.ones((3, 1)))
    with pytest.raises(ValueError, match="not finite"):
        model(np.array([[1.0, np.nan], [0.0, 1.0]]))


@settings(max_examples=100, deadline=None)
@given(arrays(np.bool_, st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3))))
def test_what_is_kept_is_complete(absent: np.ndarray) -> None:
    kept = complete(absent)
    assert not absent[np.ix_(*kept)].any()
    assert all(k == sorted(set(k)) for k in kept)
    if not absent.any():
        assert [len(k) for k in kept] == list(absent.shape)


@pytest.mark.parametrize("seeds", [3, 7])
@pytest.mark.parametrize("value", [5 / 3, 0.1, 1e-9, 1e9 / 7])
def test_rounding_is_no_noise(seeds: int, value: float) -> None:
    y = np.repeat(value * np.array([[1.0], [4 / 3], [7 / 5], [2.2]]), seeds, axis=1)
    model = fit(y, list("abcd"), range(seeds))
    assert model.variance == 0
    assert model.shared == 0
    assert (model.moderated == 0).all()
    noise = 1e-9 * np.random.default_rng(0).normal(size=y.shape)
    assert fit(y * (1 + noise), list("abcd"), range(seeds)).variance > 0


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
@pytest.mark.parametrize(("formulations", "seeds"), [(2, 2), (6, 3), (30, 5)])
def test_intervals_of_the_correlation_hold(correlation: float, formulations: int, seeds: int) -> None:
    y = simulate.noise(np.random.default_rng(0), (4000, formulations, seeds), correlation)
    model = fit(y, [""] * formulations, range(seeds))
    low, high = model.correlation_interval()
    assert ((low <= correlation) & (correlation <= high)).mean() == pytest.approx(0.95, abs=0.012)
    assert ((low <= model.correlation) & (model.correlation <= high)).all()
    assert (low >= -1 / (formulations - 1) - 1e-12).all()
    assert (high <= 1).all()


def test_intervals_of_the_correlation_hold_or_are_wider_over_two_datasets() -> None:
    y = simulate.noise(np.random.default_rng(0), (4000, 6, 5), 0.5)
    model = fit(y, [""] * 6, [0, 1, 2, 0, 1], [*"aaabb"])
    low, high = model.correlation_interval()
    assert ((low <= 0.5) & (high >= 0.5)).mean() >= 0.94


def test_a_correlation_without_noise_has_no_interval() -> None:
    model = fit(np.arange(3.0) + np.zeros((2, 1)), ["a", "b"], [0, 1, 2])
    assert model.correlation == 1
    assert np.isnan(model.correlation_interval()).all()
