"""The bootstrap of a ranking: the distribution that its draws have, clear and hopeless cases, and what is lost."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.stats import kendalltau, rankdata

from analysis.stats import simulate
from analysis.stats.pareto import fronts
from analysis.stats.position_bootstrap import Stability, _weight, _World, positions
from analysis.stats.position_bootstrap import stability as of_parts

CLIP_FID = (True, False)


def names(points: np.ndarray) -> list[str]:
    return [f"f{i}" for i in range(len(points))]


def rank(y: np.ndarray, maximise: tuple[bool, ...] = CLIP_FID) -> np.ndarray:
    return fronts(np.moveaxis(y, 0, 2), maximise).mean(axis=(0, 1))


def stability(y: np.ndarray, names: list[str], maximise: tuple[bool, ...], **options: int) -> Stability:
    """Of one dataset."""
    return of_parts(
        [y],
        names,
        maximise,
        rank(y, maximise) if y.ndim == 4 and y.shape[3] == len(maximise) else y,
        **options,
    )


def measured(formulations: int = 8, spread: float = 1.0, seed: int = 0, seeds: int = 3) -> np.ndarray:
    return simulate.points(np.random.default_rng(seed), formulations, seeds, spread, settings=3)[0]


def test_draws_have_the_mean_and_the_covariance_that_they_are_said_to_have() -> None:
    y = measured(12, spread=0.7, seed=4)
    world = _World(y, np.ones(12, dtype=bool))
    draws = world.draw(_weight([world]), 20_000, np.random.default_rng(0))
    free = y - y.mean(axis=0)
    effects = free.mean(axis=2)
    residuals = free - effects[:, :, None]
    noise = np.einsum("fcsk,fdsl->ckdl", residuals, residuals) / (11 * 2)
    # w: one minus the noise's part in the variance of the averages over settings.
    average = noise.mean(axis=(0, 2)).diagonal() / 3
    w = 1 - average / effects.mean(axis=1).var(axis=0, ddof=1)
    assert (w > 0.2).all()
    assert (w < 0.9).all()
    means = draws.mean(axis=3)
    np.testing.assert_allclose(means.mean(axis=0), y.mean(axis=(0, 2)) + w * effects, atol=0.02)
    spread = means[:, 5] - means[:, 5].mean(axis=0)
    posterior = np.sqrt(w)[:, None, None] * np.sqrt(w) * noise / 3
    np.testing.assert_allclose(np.einsum("bck,bdl->ckdl", spread, spread) / 20_000, posterior, atol=0.015)
    # Within a draw seeds scatter with the whole noise, and formulations independently of one another.
    within = draws - means[:, :, :, None]
    one, other = within[:, 2], within[:, 7]
    np.testing.assert_allclose(np.einsum("bcsk,bdsl->ckdl", one, one) / 20_000 / 3, noise, atol=0.04)
    np.testing.assert_allclose(np.einsum("bcsk,bdsl->ckdl", one, other) / 20_000 / 3, 0, atol=0.04)


def test_formulations_far_apart_keep_their_places() -> None:
    far = np.arange(5.0)[:, None, None, None] * np.array([-100.0, 100.0])
    found = stability(measured(5) + far, names(far), CLIP_FID)
    assert found.low.tolist() == found.high.tolist() == [1, 2, 3, 4, 5]
    assert found.first.tolist() == found.front_one.tolist() == [1, 0, 0, 0, 0]
    assert found.agreement == 1


def test_formulations_that_differ_by_noise_alone_can_have_every_place() -> None:
    noise = np.random.default_rng(3).normal(size=(4, 2, 3, 2))
    noise -= noise.mean(axis=2, keepdims=True)  # no measured effect at all
    found = stability(noise, names(noise), CLIP_FID, draws=2000)
    assert found.low.tolist() == [1] * 4
    assert found.high.tolist() == [4] * 4
    np.testing.assert_allclose(found.first, 0.25, atol=0.05)
    assert found.agreement == pytest.approx(0, abs=0.1)


def test_equal_formulations_hold_all_their_places() -> None:
    equal = np.broadcast_to(np.array([1.0, 2.0]), (3, 2, 4, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = stability(equal, names(equal), CLIP_FID)
    assert (found.low.tolist(), found.high.tolist()) == ([1] * 3, [3] * 3)
    np.testing.assert_allclose(found.first, 1 / 3)
    assert found.front_one.tolist() == [1] * 3
    assert found.agreement == 0


def test_summaries_are_those_of_the_draws() -> None:
    y = measured(9, spread=0.5)
    found = stability(y, names(y), CLIP_FID)
    assert found.draws.shape == (400, 9)
    assert found.agreement == pytest.approx(np.mean([kendalltau(d, rank(y)).statistic for d in found.draws]))
    assert found.first.sum() == pytest.approx(1)
    places = [rankdata(found.draws, method=method, axis=1) for method in ("min", "max")]
    assert ((places[0] < found.low).mean(axis=0) <= 0.025).all()
    assert ((places[1] > found.high).mean(axis=0) <= 0.025).all()
    now = rankdata(rank(y), method="min")
    assert ((found.low <= now) & (now <= found.high)).all()
    np.testing.assert_array_equal(positions(found.draws), places)


def test_the_seed_decides_and_luck_that_all_share_does_not() -> None:
    y = measured()
    found = stability(y, names(y), CLIP_FID, draws=60)
    luck = np.random.default_rng(1).normal(size=(1, 3, 3, 2))
    np.testing.assert_array_equal(stability(y, names(y), CLIP_FID, draws=60).draws, found.draws)
    np.testing.assert_array_equal(stability(y + luck, names(y), CLIP_FID, draws=60).draws, found.draws)
    assert (stability(y, names(y), CLIP_FID, draws=60, seed=1).draws != found.draws).any()


def test_one_objective() -> None:
    y = measured(spread=2.0)[..., :1]
    found = stability(y, names(y), (True,))
    assert found.first.argmax() == y.mean(axis=(1, 2, 3)).argmax()


def test_what_is_lost_stays_lost_and_teaches_nothing_about_noise() -> None:
    y = measured(8)
    gone, once = y.copy(), y.copy()
    gone[3] = np.nan
    once[3, :, 1] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = stability(gone, names(y), CLIP_FID, draws=100)
        partly = stability(once, names(y), CLIP_FID, draws=100)
    assert (found.low[3], found.high[3], found.first[3], found.front_one[3]) == (8, 8, 0, 0)
    assert (found.draws[:, 3] > found.draws.max(axis=1) - 1e-9).all()
    # In the seed without it, it is behind all others; in the other two it takes part.
    assert 1 < rank(once)[3] < rank(gone)[3]
    assert partly.front_one[3] < stability(y, names(y), CLIP_FID, draws=100).front_one[3]


def test_what_cannot_be_drawn() -> None:
    y = measured()
    with pytest.raises(ValueError, match=r"\[8, C, S, 1\], not \[8, 3, 3, 2\]"):
        stability(y, names(y), (True,))
    with pytest.raises(ValueError, match="1 seeds and 8 formulations"):
        stability(y[:, :, :1], names(y), CLIP_FID)
    y[1:] = np.nan
    with pytest.raises(ValueError, match="3 seeds and 1 formulations"):
        stability(y, names(y), CLIP_FID)
