"""Influence values of the Frechet distance: derivative, jackknife, one dimension, and what they foretell."""

from __future__ import annotations

import numpy as np
import pytest

from bench.metrics.frechet import Moments, frechet
from bench.metrics.influence import LEAST, influence


def features(n: int, dim: int, seed: int, rank: int | None = None) -> np.ndarray:
    """Skewed rows of a few dimensions that depend on one another."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(rank or dim, dim))
    return rng.exponential(size=(n, rank or dim)) @ mixing + rng.normal(size=dim)


def weighted(x: np.ndarray, weights: np.ndarray) -> Moments:
    """The moments of rows with weights of mean 1, as of a distribution: the covariance divides by n."""
    mean = weights @ x / len(x)
    centred = x - mean
    return Moments(len(x) + 1, mean, (weights[:, None] * centred).T @ centred)


def without_each(x: np.ndarray, reference: Moments) -> np.ndarray:
    """The jackknife's values, by measuring the distance without each image."""
    distances = np.array([frechet(Moments.of(np.delete(x, i, axis=0)), reference) for i in range(len(x))])
    return (len(x) - 1) * (distances.mean() - distances)


RANKS = pytest.mark.parametrize(
    ("rank", "reference_rank"), [(None, None), (3, None), (None, 3), (3, 2)], ids=["full", "x", "y", "both"]
)


@RANKS
def test_is_the_derivative_of_the_distance_by_an_images_weight(
    rank: int | None, reference_rank: int | None
) -> None:
    """To first order, which is all that is left of many copies of the same images."""
    x, y = features(40, 5, 0, rank), Moments.of(features(60, 5, 1, reference_rank))
    many, step = np.tile(x, (2000, 1)), 1e-4
    psi = influence(many, y)
    assert psi is not None
    for i in range(8):
        heavy, light = (np.full(40, 1 - h / 39) for h in (step, -step))
        heavy[i], light[i] = 1 + step, 1 - step
        slope = (frechet(weighted(x, heavy), y) - frechet(weighted(x, light), y)) / (2 * step)
        assert slope == pytest.approx(psi[i] / 39, rel=1e-4, abs=1e-4)
    assert psi.mean() == pytest.approx(0, abs=1e-9 * np.abs(psi).max())


@RANKS
def test_is_the_jackknife_to_second_order(rank: int | None, reference_rank: int | None) -> None:
    """What is left falls with the square of the number of images."""
    rng, y, missed = np.random.default_rng(2), Moments.of(features(60, 5, 1, reference_rank)), []
    mixing = rng.normal(size=(rank or 5, 5))
    for n in (40, 320):
        x = rng.uniform(-1, 1, size=(n, rank or 5)) @ mixing
        exact, psi = without_each(x, y), influence(x, y)
        assert psi is not None
        missed.append(float(np.std(psi - exact) / np.std(exact)))
    assert missed[0] < 0.01
    assert missed[1] < missed[0] / 20


def test_one_dimension_by_hand() -> None:
    """Mean 1 and variance 1 against 3 and 4: d = 2^2 + (1 - 2)^2; a = 2, e = 3/4, s = 2, z = 2 c."""
    x = np.array([[0.0], [1.0], [2.0]])
    reference = Moments(2, np.array([3.0]), np.array([[4.0]]))
    assert frechet(Moments.of(x), reference) == pytest.approx(5)
    curved = np.sqrt(2) * (3 / 4 * 4 / 2 + (3 / 4) ** 2 / 2 * 4**2 / (2 * 2 * 4))
    distances = np.array([1.5**2 - 1.5 + curved, 2.0**2, 2.5**2 - 1.5 + curved])
    assert influence(x, reference) == pytest.approx(2 * (distances.mean() - distances))


def spread(distances: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Predicted standard deviations over true ones, of draws ``[draws, ...]``."""
    found: np.ndarray = np.sqrt(variances.mean(axis=0)) / distances.std(axis=0, ddof=1)
    return found


@pytest.mark.parametrize("n", [24, 48, 192])
def test_foretells_how_far_distances_and_their_differences_spread(n: int) -> None:
    """Two models of 12 dimensions that share the noise of each image, drawn again and again."""
    rng = np.random.default_rng(4)
    dim, draws = 12, 400
    alike = np.eye(dim) + 0.3 * rng.normal(size=(dim, dim))
    mixing, other = alike + 0.1 * rng.normal(size=(2, dim, dim))
    reference = Moments.of(rng.normal(size=(1000, dim)))
    distances, variances = np.zeros((2, draws, 3))
    for draw in range(draws):
        noise = rng.normal(size=(n, dim))
        one, two = noise @ mixing + 0.3, noise @ other + 0.2 * rng.normal(size=(n, dim))
        found = [frechet(Moments.of(x), reference) for x in (one, two)]
        first, second = influence(one, reference), influence(two, reference)
        assert first is not None
        assert second is not None
        distances[draw] = *found, found[0] - found[1]
        variances[draw] = [np.var(psi, ddof=1) / n for psi in (first, second, first - second)]
    assert spread(distances, variances) == pytest.approx(np.ones(3), abs=0.12)
    apart = np.sqrt(variances[:, :2].sum(axis=1).mean())
    assert distances[:, 2].std() < 0.9 * apart, "pairing must matter here, or the differences tested nothing"


def test_is_careful_with_images_that_are_as_the_reference_is() -> None:
    rng = np.random.default_rng(5)
    reference, draws = Moments.of(rng.normal(size=(2000, 12))), []
    for _ in range(300):
        x = rng.normal(size=(48, 12))
        psi = influence(x, reference)
        assert psi is not None
        draws.append((frechet(Moments.of(x), reference), np.var(psi, ddof=1) / 48))
    ratio = spread(*np.array(draws).T)
    assert 1.1 < ratio < 1.6


def test_pictures_that_are_all_the_same_move_nothing() -> None:
    x = np.ones((LEAST * 4, 4))
    assert influence(x, Moments.of(features(30, 4, 5))) == pytest.approx(np.zeros(len(x)), abs=1e-12)


def test_where_there_are_none() -> None:
    reference, x = Moments.of(features(30, 4, 6)), features(LEAST * 4, 4, 7)
    assert influence(x, reference) is not None
    assert influence(x[1:], reference) is None, "too few images"
    x[0, 0] = np.inf
    assert influence(x, reference) is None
    with pytest.raises(ValueError, match="3 and 4 dimensions"):
        influence(x[:, :3], reference)
