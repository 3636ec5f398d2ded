"""The order of training images: a permutation each epoch, at random, read at any position."""

from __future__ import annotations

import tracemalloc
from itertools import permutations

import numpy as np
import pytest
from scipy.stats import chisquare

from bench.config.seeds import seed_for
from bench.training import image_order
from bench.training.image_order import DRAWN, ImageOrder, keyed

SIZES = [1, 2, 3, 4, 5, 8, 9, 16, 17, 100, 1023, 1024, 1025, 70_001]


@pytest.mark.parametrize("count", SIZES)
def test_every_epoch_is_a_permutation(count: int) -> None:
    for epoch in (0, 1, 7):
        assert sorted(keyed(3, epoch, count)(np.arange(count))) == list(range(count))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    places = np.arange(1000)
    orders = [keyed(*which, 1000)(places) for which in ((0, 0), (0, 1), (1, 0))]
    for i, order in enumerate(orders):
        for other in (places, *orders[:i]):
            assert (order == other).sum() < 10, "two random orders agree at one place on average"
            assert abs(np.corrcoef(order, other)[0, 1]) < 0.15


def test_all_orders_are_equally_likely() -> None:
    """Of four images, a chi-square test of the 24 orders."""
    places, count = np.arange(4), dict.fromkeys(permutations(range(4)), 0)
    for epoch in range(4800):
        count[tuple(keyed(0, epoch, 4)(places))] += 1
    assert chisquare(list(count.values())).pvalue > 0.001


@pytest.mark.parametrize("count", [7, 23, 40])
def test_pairs_of_places_have_all_pairs_of_images_equally_often(count: int) -> None:
    """Chi-square tests of the first image, the last one, and both: neighbours are independent but for being distinct."""
    found = np.stack([keyed(1, epoch, count)(np.array([0, 1, count - 1])) for epoch in range(6000)])
    for column in found.T:
        assert chisquare(np.bincount(column, minlength=count)).pvalue > 0.001
    for other in (1, 2):
        pairs = np.zeros((count, count), dtype=int)
        np.add.at(pairs, (found[:, 0], found[:, other]), 1)
        assert not pairs.diagonal().any()
        assert chisquare(pairs[~np.eye(count, dtype=bool)]).pvalue > 0.001


@pytest.mark.parametrize("most", [0, DRAWN])
def test_any_position_is_read_anew(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an interruption, and across the ends of epochs."""
    monkeypatch.setattr(image_order, "DRAWN", most)
    whole = ImageOrder(0, 37).at(range(37 * 4))
    for epoch in range(4):
        assert sorted(whole[37 * epoch : 37 * (epoch + 1)]) == list(range(37))
    for first, last in ((0, 5), (30, 45), (100, 148), (10, 120)):
        assert np.array_equal(ImageOrder(0, 37).at(range(first, last)), whole[first:last])


def test_the_number_of_images_decides_how_the_order_is_made() -> None:
    drawn = np.random.default_rng(seed_for("order", 5, 0)).permutation(DRAWN)
    assert np.array_equal(ImageOrder(5, DRAWN).at(range(100)), drawn[:100])
    more = ImageOrder(5, DRAWN + 1).at(range(100))
    assert np.array_equal(more, keyed(5, 0, DRAWN + 1)(np.arange(100)))


def test_memory_does_not_depend_on_the_number_of_images() -> None:
    """Of a million millions, a batch in the middle of the third epoch."""
    count = 10**12
    tracemalloc.start()
    found = ImageOrder(0, count).at(range(5 * count // 2, 5 * count // 2 + 1024))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
    assert len(set(found)) == 1024
    assert 0 <= found.min() < count / 100
    assert count > found.max() > 0.99 * count
