"""Non-dominated sorting: a hand-worked case, a second library, and invariants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import rankdata

from analysis.stats.pareto import fronts

CLIP_FID = (True, False)
points = arrays(np.float64, st.tuples(st.integers(1, 14), st.just(2)), elements=st.integers(0, 6).map(float))


def test_worked_by_hand() -> None:
    #      CLIP, FID
    rows = [(30, 20), (25, 10), (25, 20), (20, 30), (25, 10), (20, 20)]
    # (30,20) and (25,10) are undominated, the double shares its front; (25,20) is dominated by both;
    # (20,20) by (25,20); (20,30) by (20,20).
    assert fronts(rows, CLIP_FID).tolist() == [1, 1, 2, 4, 1, 3]


def test_one_objective_is_dense_ranking() -> None:
    assert fronts([[3.0], [1.0], [3.0], [2.0]], [False]).tolist() == [3, 1, 3, 2]
    assert fronts([[3.0], [1.0], [3.0], [2.0]], [True]).tolist() == [1, 3, 1, 2]


def test_what_is_not_finite_comes_last_and_disturbs_nothing() -> None:
    rows = [(30, 20), (np.nan, 1), (20, 30), (99, -np.inf), (np.inf, 0)]
    assert fronts(rows, CLIP_FID).tolist() == [1, 3, 2, 3, 3]
    assert fronts([(np.nan, 1), (2, np.nan)], CLIP_FID).tolist() == [1, 1]
    assert fronts(np.empty((0, 2)), CLIP_FID).tolist() == []


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 9), st.integers(1, 2)),
        elements=st.sampled_from([0.0, 1.0, 2.0, 3.0, np.nan, np.inf]),
    )
)
def test_many_sets_at_once(values: np.ndarray) -> None:
    maximise = CLIP_FID[: values.shape[-1]]
    together = fronts(values, maximise)
    assert together.shape == values.shape[:-1]
    for i, j in np.ndindex(*values.shape[:2]):
        np.testing.assert_array_equal(together[i, j], fronts(values[i, j], maximise))


def test_one_objective_agrees_with_scipy() -> None:
    values = np.random.default_rng(0).integers(0, 20, size=(50, 30)).astype(float)
    np.testing.assert_array_equal(
        fronts(values[..., None], [False]), rankdata(values, method="dense", axis=-1)
    )


def test_shape_must_fit_the_objectives() -> None:
    with pytest.raises(ValueError, match="one or two objectives, not 3"):
        fronts(np.ones((4, 3)), (True, False, True))
    with pytest.raises(ValueError, match=r"\[..., N, 2\], not \[3\]"):
        fronts([1.0, 2.0, 3.0], CLIP_FID)


@pytest.mark.parametrize("maximise", [(True, False), (False, False), (True, True)])
def test_agrees_with_moocore(maximise: tuple[bool, bool]) -> None:
    moocore = pytest.importorskip("moocore")
    rng = np.random.default_rng(0)
    for n in (1, 2, 10, 61, 200):
        for values in (rng.normal(size=(n, 2)), rng.integers(0, 5, size=(n, 2)).astype(float)):
            theirs = moocore.pareto_rank(values, maximise=list(maximise)) + 1
            np.testing.assert_array_equal(fronts(values, maximise), theirs)


@settings(max_examples=150, deadline=None)
@given(points, st.randoms(use_true_random=False))
def test_invariants(values: np.ndarray, random) -> None:
    index = fronts(values, CLIP_FID)
    order = list(range(len(values)))
    random.shuffle(order)
    np.testing.assert_array_equal(fronts(values[order], CLIP_FID), index[order])
    np.testing.assert_array_equal(fronts(values * [7.0, 0.5] + [-3.0, 100.0], CLIP_FID), index)
    np.testing.assert_array_equal(fronts(np.exp(values), CLIP_FID), index)
    assert set(index) == set(range(1, index.max() + 1))
    for i, (clip_i, fid_i) in enumerate(values):
        for j, (clip_j, fid_j) in enumerate(values):
            if clip_i >= clip_j and fid_i <= fid_j:
                assert index[i] <= index[j]
                assert (index[i] == index[j]) == ((clip_i, fid_i) == (clip_j, fid_j))


@settings(max_examples=60, deadline=None)
@given(points, points)
def test_a_missing_point_leaves_the_others_where_they_are(values: np.ndarray, lost: np.ndarray) -> None:
    lost = np.where(np.arange(2) == 0, np.nan, lost)
    index = fronts(np.concatenate([values, lost]), CLIP_FID)
    alone = fronts(values, CLIP_FID)
    np.testing.assert_array_equal(index[: len(values)], alone)
    assert (index[len(values) :] == alone.max() + 1).all()
