"""The e-value and its interval against numerical integration, published values, and what must not change them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate

from analysis.stats import sequential
from analysis.stats.sequential import (
    e_value,
    half_width,
    interval,
    log_e_value,
    positive_probability,
    seeds_needed,
)

SEEDS = [0.3, 1.1, -0.4, 0.9, 1.6]


def normal(x: np.ndarray | float, mean: float, sd: float) -> np.ndarray:
    return np.exp(-0.5 * ((x - mean) / sd) ** 2) / (sd * math.sqrt(2 * math.pi))


def marginal(values: np.ndarray, g: float) -> float:
    """The density of values under ``mu = sigma delta``, ``delta ~ N(0, g)`` and ``1 / sigma``; g = 0 is ``mu = 0``."""

    def given(sigma: float) -> float:
        within = lambda delta: np.prod(normal(values, sigma * delta, sigma))  # noqa: E731
        if g == 0:
            return float(within(0.0)) / sigma
        weighted = lambda delta: within(delta) * normal(delta, 0, math.sqrt(g))  # noqa: E731
        return float(integrate.quad(weighted, -12, 12, limit=200)[0]) / sigma

    return float(integrate.quad(given, 0, np.inf, limit=200)[0])


@pytest.mark.parametrize("g", [0.5, 2.0])
@pytest.mark.parametrize("values", [SEEDS[:2], SEEDS])
def test_e_value_is_the_ratio_of_marginal_likelihoods(values: list[float], g: float) -> None:
    measured = np.array(values)
    assert e_value(values, 0.0, g) == pytest.approx(marginal(measured, g) / marginal(measured, 0), rel=1e-5)
    about = marginal(measured - 0.4, g) / marginal(measured - 0.4, 0)
    assert e_value(values, 0.4, g) == pytest.approx(about, rel=1e-5)


@pytest.mark.parametrize("values", [SEEDS[:1], SEEDS[:2], SEEDS, [-x for x in SEEDS]])
def test_probability_of_a_positive_mean_is_the_posteriors(values: list[float]) -> None:
    g, measured = sequential.EFFECT_VARIANCE, np.array(values)

    def mass(low: float, high: float) -> float:
        def given(log_sigma: float) -> float:
            sigma = math.exp(log_sigma)
            weighted = lambda delta: (  # noqa: E731
                np.prod(normal(measured, sigma * delta, sigma)) * normal(delta, 0, math.sqrt(g))
            )
            return float(integrate.quad(weighted, low, high, limit=200)[0])

        return float(integrate.quad(given, -12, 12, limit=400)[0])

    expected = mass(0, 12) / mass(-12, 12)
    assert positive_probability(values) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("level", [0.05, 0.01])
@pytest.mark.parametrize("count", [4, 5, 30])
def test_the_interval_is_what_the_e_value_does_not_refute(count: int, level: float) -> None:
    values = list(np.random.default_rng(count).normal(0.5, 1.0, count))
    found = interval(values, level)
    if count == 4 and level == 0.01:
        assert found.low == -math.inf  # (1 + n g)^((n - 1) / 2) = 27, the largest value at four seeds
        assert max(e_value(values, null) for null in (-1e3, 1e3, 1e6)) < 1 / level
        return
    for end in (found.low, found.high):
        assert e_value(values, end) == pytest.approx(1 / level)
    inside = np.linspace(found.low, found.high, 12)[1:-1]
    assert max(e_value(values, null) for null in inside) < 1 / level
    outside = [found.low - 0.01, found.high + 0.01, found.low - 1e6, found.high + 1e6]
    assert min(e_value(values, null) for null in outside) > 1 / level
    assert found.estimate == pytest.approx(np.mean(values))


def test_quantiles_of_every_look() -> None:
    # t*, in standard errors s / sqrt(n) with s = 1, at n = 3, 4, 6, 10, 20.
    known = {
        1: [math.inf, math.inf, 5.45, 3.87, 3.42],
        2: [math.inf, 12.05, 4.82, 3.87, 3.52],
        4: [math.inf, 7.21, 4.73, 3.97, 3.63],
    }
    n = np.array([3, 4, 6, 10, 20])
    for g, expected in known.items():
        found = half_width(n, n - 1.0, 0.05, g) * np.sqrt(n)
        np.testing.assert_allclose(found, expected, atol=0.0055)


def test_scale_and_sign_change_nothing() -> None:
    for factor in (-1.0, 1e-200, 1e200, 7.0):
        scaled = [factor * x for x in SEEDS]
        assert e_value(scaled) == pytest.approx(e_value(SEEDS))
        probability = positive_probability(SEEDS)
        expected = probability if factor > 0 else 1 - probability
        assert positive_probability(scaled) == pytest.approx(expected)
    one, other = interval(SEEDS), interval([-7 * x for x in SEEDS])
    assert (other.low, other.high) == pytest.approx((-7 * one.high, -7 * one.low))
    assert interval([x + 3 for x in SEEDS]).low == pytest.approx(one.low + 3)


@pytest.mark.parametrize("n", [2, 3, 8])
def test_the_mean_of_e_is_one_where_nothing_differs(n: int) -> None:
    values = np.random.default_rng(n).normal(size=(100_000, n))
    mean = values.mean(axis=1)
    found = np.exp(log_e_value(n, mean, np.square(values - mean[:, None]).sum(axis=1)))
    error = found.std() / math.sqrt(len(found))
    assert found.mean() == pytest.approx(1, abs=4 * error)
    assert error < 0.05


def test_each_new_seed_is_a_fair_bet() -> None:
    # Given five seeds' scale-free statistics, E_6 is E_5 in expectation: sigma drawn from its posterior under mu = 0.
    rng, five = np.random.default_rng(0), np.array(SEEDS)
    sigma = np.sqrt(np.square(five).sum() / rng.chisquare(5, 100_000))
    six = np.concatenate(
        [np.tile(five, (len(sigma), 1)), (sigma * rng.normal(size=len(sigma)))[:, None]], axis=1
    )
    mean = six.mean(axis=1)
    found = np.exp(log_e_value(6, mean, np.square(six - mean[:, None]).sum(axis=1)))
    assert found.mean() == pytest.approx(e_value(SEEDS), abs=4 * found.std() / math.sqrt(len(found)))


def test_few_seeds_are_no_evidence() -> None:
    assert e_value([]) == e_value([3.0]) == 1
    assert math.isnan(interval([]).estimate)
    assert interval([3.0]) == sequential.Interval(3.0, -math.inf, math.inf)
    assert positive_probability([]) == 0.5
    assert sequential.verdict([5.0] * 3) == "undecided"
    assert seeds_needed([]) is None
    assert seeds_needed([3.0]) is None


def test_equal_differences_are_the_limit_of_nearly_equal_ones() -> None:
    for n in (2, 4, 9):
        limit = (1 + 2 * n) ** ((n - 1) / 2)
        assert e_value([0.1] * n) == pytest.approx(limit)
        assert e_value([0.1 + 1e-6 * i for i in range(n)]) == pytest.approx(limit, rel=1e-6)
    assert interval([0.1] * 4) == sequential.Interval(0.1, 0.1, 0.1)
    assert sequential.verdict([0.1] * 4) == "higher"
    assert sequential.verdict([-0.1] * 4) == "lower"
    assert seeds_needed([0.1] * 2) == 4


def test_differences_of_zero_are_equal() -> None:
    assert e_value([0.0] * 5) == pytest.approx((1 + 2 * 5) ** -0.5)
    assert positive_probability([0.0] * 5) == 0.5
    assert interval([0.0] * 5) == sequential.Interval(0.0, 0.0, 0.0)
    assert sequential.verdict([0.0] * 5) == "equivalent"
    assert sequential.verdict([0.0] * 3) == "undecided"
    assert seeds_needed([0.0] * 3) == 4


def test_verdicts() -> None:
    ahead = [1.0, 1.1, 0.9, 1.05, 0.95, 1.0]
    assert sequential.verdict(ahead) == "higher"
    assert sequential.verdict([-x for x in ahead]) == "lower"
    # Real and too small to matter: 1 is inside a margin of 2, and not shown to be inside one of 1.02.
    assert sequential.verdict(ahead, margin=2.0) == "equivalent"
    assert sequential.verdict(ahead, margin=1.02) == "higher"
    around = [x - 1 for x in ahead]
    assert sequential.verdict(around) == "undecided"
    assert sequential.verdict(around, margin=0.5) == "equivalent"
    # A stricter level, as of many rivals, refutes less.
    assert sequential.verdict(ahead, level=1e-9) == "undecided"


def test_seeds_needed_decide() -> None:
    rng = np.random.default_rng(1)
    few = list(rng.normal(0.8, 1.0, 6))
    for margin in (None, 1.5):
        assert sequential.verdict(few, margin) == "undecided"
        needed = seeds_needed(few, margin)
        assert needed is not None
        at = np.mean(few), np.std(few, ddof=1)
        for n, decided in ((needed, True), (needed - 1, False)):
            ends = np.array([-1.0, 1.0] * (n // 2) + [0.0] * (n % 2))
            same = at[0] + at[1] * ends / ends.std(ddof=1)  # n values of that mean and deviation
            assert (sequential.verdict(list(same), margin) != "undecided") == decided, (n, margin)
    assert seeds_needed([1.0, 1.1, 0.9, 1.05, 0.95, 1.0]) == 6
    assert seeds_needed([1.0, -1.0, 0.001]) is None
    assert seeds_needed([1.0, -1.0, 0.001], margin=0.5) is not None


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda: e_value([1.0, math.nan]), "finite"),
        (lambda: interval([1.0, math.inf]), "finite"),
        (lambda: e_value([1.0, 2.0], g=0), "g must be positive"),
        (lambda: interval([1.0, 2.0], level=1.0), "between 0 and 1"),
        (lambda: sequential.verdict([1.0, 2.0], margin=0.0), "margin must be positive"),
        (lambda: seeds_needed([1.0, 2.0], margin=-1.0), "margin must be positive"),
    ],
)
def test_mistakes(call: object, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        call()  # type: ignore[operator]
