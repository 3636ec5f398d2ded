"""KID: the estimator by its definition, its unbiasedness, and the standard error against simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bench.metrics.kid import kid, within_set


def by_definition(x: np.ndarray, y: np.ndarray) -> float:
    """The three means of the kernel, pair by pair."""

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    def within(z: np.ndarray) -> float:
        pairs = [kernel(z[i], z[j]) for i, j in itertools.permutations(range(len(z)), 2)]
        return sum(pairs) / len(pairs)

    between = [kernel(a, b) for a in x for b in y]
    return within(x) + within(y) - 2 * sum(between) / len(between)


@pytest.mark.parametrize("block", [1, 4, 1024])
def test_value_is_the_definition_for_any_block(block: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 5)), rng.normal(size=(14, 5)) + 0.5
    assert kid(x, y, block=block).value == pytest.approx(by_definition(x, y), rel=1e-12)


def test_standard_error_is_its_formula() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(12, 3)), rng.normal(size=(20, 3)) + 1.0
    m, n = len(x), len(y)

    def kernels(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.array([[(p @ q / 3 + 1) ** 3 for q in b] for p in a])

    def spread(k: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Means per row and per column over ``pairs``, and the mean square about them."""
        rows = np.array([k[i][pairs[i]].mean() for i in range(len(k))])
        cols = np.array([k[:, j][pairs[:, j]].mean() for j in range(k.shape[1])])
        mean = k[pairs].mean()
        return rows, cols, (k[pairs] ** 2).mean() - (rows**2).mean() - (cols**2).mean() + mean**2

    rx, _, qxx = spread(kernels(x, x), ~np.eye(m, dtype=bool))
    ry, _, qyy = spread(kernels(y, y), ~np.eye(n, dtype=bool))
    xy, yx, qxy = spread(kernels(x, y), np.ones((m, n), dtype=bool))
    first = 4 / m * max(0, np.var(rx - xy, ddof=1) - qxx / (m - 1) - qxy / n)
    first += 4 / n * max(0, np.var(ry - yx, ddof=1) - qyy / (n - 1) - qxy / m)
    second = 2 * qxx / (m * (m - 1)) + 2 * qyy / (n * (n - 1)) + 4 * qxy / (m * n)
    assert kid(x, y).stderr == pytest.approx(np.sqrt(first + second), rel=1e-10)


def test_blocks_do_not_change_the_error() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 4)), rng.normal(size=(50, 4)) + 0.3
    assert kid(x, y, block=7).stderr == pytest.approx(kid(x, y).stderr, rel=1e-10)
    assert kid(x, y).stderr == pytest.approx(kid(y, x).stderr, rel=1e-10)


def test_a_reference_that_is_known_already_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    y = rng.normal(size=(40, 4))
    within = within_set(y)
    for shift in (0.0, 0.7):
        x = rng.normal(size=(25, 4)) + shift
        assert kid(x, y, within=within) == kid(x, y)
    assert kid(x, y, within=within_set(2 * y)) != kid(x, y), "it is read"


@pytest.mark.parametrize(("shift", "m", "n"), [(0.0, 40, 40), (0.0, 30, 120), (0.3, 40, 80), (1.0, 60, 40)])
def test_unbiased_with_an_honest_standard_error(shift: float, m: int, n: int) -> None:
    rng = np.random.default_rng([m, n, int(10 * shift)])
    draws = [kid(rng.normal(size=(m, 6)) + shift, rng.normal(size=(n, 6))) for _ in range(800)]
    values, errors = np.array([d.value for d in draws]), np.array([d.stderr for d in draws])
    truth = kid(rng.normal(size=(6000, 6)) + shift, rng.normal(size=(6000, 6)))
    assert values.mean() == pytest.approx(
        truth.value, abs=4 * truth.stderr + 4 * values.std() / np.sqrt(len(values))
    )
    # The floors at 0 make it a little too large at shift 0; the jackknife would give sqrt(2) there.
    assert 0.9 < np.sqrt((errors**2).mean()) / values.std(ddof=1) < 1.25


def test_refuses_single_rows_and_other_dimensions() -> None:
    with pytest.raises(ValueError, match="at least 2 rows on each side, not 1 and 5"):
        kid(np.zeros((1, 3)), np.zeros((5, 3)))
    with pytest.raises(ValueError, match="3 and 4 dimensions"):
        kid(np.zeros((5, 3)), np.zeros((5, 4)))
