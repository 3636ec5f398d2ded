"""Win rates: scipy's exact interval, ties, and what is left out."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from analysis.stats.wins import exact_interval, win_rate


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_clopper_and_pearsons(pair: tuple[int, int]) -> None:
    reference = binomtest(*pair).proportion_ci(0.95, method="exact")
    assert exact_interval(*pair) == pytest.approx((reference.low, reference.high), abs=1e-10)


def test_worked_by_hand() -> None:
    # Lower is better: won 1 < 2 and 3 < 4, lost 5 > 4, tied 2 = 2; the last pair lacks a value.
    found = win_rate([1, 3, 5, 2, math.nan], [2, 4, 4, 2, 0], higher_is_better=False)
    assert (found.wins, found.ties, found.pairs, found.rate) == (2, 1, 4, 0.625)
    # The tie is lost for the low end and won for the high one.
    assert found.low == exact_interval(2, 4)[0]
    assert found.high == exact_interval(3, 4)[1]
    turned = win_rate([1, 3, 5, 2, math.nan], [2, 4, 4, 2, 0], higher_is_better=True)
    assert (turned.wins, turned.ties, turned.rate) == (1, 1, 0.375)
    assert turned.low == pytest.approx(1 - found.high)
    assert turned.high == pytest.approx(1 - found.low)


def test_three_wins_of_three_say_little() -> None:
    found = win_rate([1, 2, 3], [0, 0, 0], higher_is_better=True)
    assert (found.rate, found.high) == (1, 1)
    assert found.low == pytest.approx(0.025 ** (1 / 3))


def test_no_pair_and_lists_that_do_not_fit() -> None:
    found = win_rate([math.nan], [1.0], higher_is_better=True)
    assert (found.pairs, found.low, found.high) == (0, 0, 1)
    assert math.isnan(found.rate)
    with pytest.raises(ValueError, match=r"\[2\] and \[3\]"):
        win_rate([1, 2], [1, 2, 3], higher_is_better=True)
