"""Frechet distance: closed forms, scipy's general root, independence of batches, rank deficiency."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from bench.metrics.frechet import Moments, frechet


def features(n: int, dim: int, seed: int, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dim)) @ rng.normal(size=(dim, dim)) + shift * rng.normal(size=dim)


def by_sqrtm(x: np.ndarray, y: np.ndarray) -> float:
    """The formula as first printed, with scipy's general matrix root."""
    sx, sy = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    gap = x.mean(0) - y.mean(0)
    return float(gap @ gap + np.trace(sx + sy - 2 * np.real(linalg.sqrtm(sx @ sy))))


def exact(mean: np.ndarray, cov: np.ndarray) -> Moments:
    return Moments(2, np.asarray(mean, dtype=float), np.asarray(cov, dtype=float))


@pytest.mark.parametrize("dim", [2, 17, 64])
def test_agrees_with_scipy_sqrtm(dim: int) -> None:
    x, y = features(400, dim, 0), features(300, dim, 1, shift=2.0)
    assert frechet(Moments.of(x), Moments.of(y)) == pytest.approx(by_sqrtm(x, y), rel=1e-8)


def test_one_dimension_is_the_distance_of_means_and_deviations() -> None:
    # d = (m1 - m2)^2 + (s1 - s2)^2
    assert frechet(exact([1.0], [[4.0]]), exact([-2.0], [[0.25]])) == pytest.approx(9.0 + 1.5**2)


def test_commuting_covariances_add_up_by_eigenvalue() -> None:
    rotation = linalg.qr(np.random.default_rng(3).normal(size=(5, 5)))[0]
    a, b = np.array([1.0, 4.0, 9.0, 0.0, 2.0]), np.array([16.0, 1.0, 0.0, 3.0, 2.0])
    distance = frechet(
        exact(np.zeros(5), rotation @ np.diag(a) @ rotation.T),
        exact(np.zeros(5), rotation @ np.diag(b) @ rotation.T),
    )
    assert distance == pytest.approx(((np.sqrt(a) - np.sqrt(b)) ** 2).sum(), rel=1e-10)


def test_the_same_rows_are_at_distance_zero_and_the_distance_is_symmetric() -> None:
    x, y = Moments.of(features(50, 8, 4)), Moments.of(features(60, 8, 5))
    assert frechet(x, x) == pytest.approx(0.0, abs=1e-9)
    assert frechet(x, y) == pytest.approx(frechet(y, x), rel=1e-10)


def test_fewer_rows_than_dimensions() -> None:
    # Rows in two orthogonal subspaces: the cross term vanishes exactly, so d = |gap|^2 + tr S1 + tr S2.
    rng = np.random.default_rng(6)
    x, y = np.zeros((10, 40)), np.zeros((12, 40))
    x[:, :20], y[:, 20:] = rng.normal(size=(10, 20)), rng.normal(size=(12, 20))
    gap = x.mean(0) - y.mean(0)
    expected = gap @ gap + x.var(0, ddof=1).sum() + y.var(0, ddof=1).sum()
    assert frechet(Moments.of(x), Moments.of(y)) == pytest.approx(expected, rel=1e-12)
    assert frechet(Moments.of(x), Moments.of(x)) == pytest.approx(0.0, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(0, 2**32 - 1))
def test_moments_do_not_depend_on_the_batches(sizes: list[int], seed: int) -> None:
    x = np.random.default_rng(seed).normal(loc=1e4, size=(sum(sizes) + 1, 3))
    one, cut = Moments.of(x), Moments.empty(3)
    for part in np.split(x, np.cumsum(sizes)):
        cut = cut.update(part)
    assert cut.n == one.n == len(x)
    np.testing.assert_allclose(cut.mean, x.mean(0), rtol=1e-13)
    np.testing.assert_allclose(cut.cov, np.cov(x, rowvar=False), rtol=1e-7, atol=1e-9)


def test_merging_is_the_moments_of_all_rows_and_reads_torch() -> None:
    x = features(90, 6, 7).astype(np.float32)
    merged = Moments.of(torch.from_numpy(x[:20])).merge(Moments.of(x[20:]))
    np.testing.assert_allclose(merged.cov, np.cov(x.astype(np.float64), rowvar=False), rtol=1e-10, atol=1e-12)
    assert merged.cov.dtype == np.float64


def test_moments_pass_through_safetensors(tmp_path) -> None:
    from safetensors.numpy import load_file, save_file

    moments = Moments.of(features(30, 4, 8))
    save_file(moments.arrays(), tmp_path / "moments.safetensors")
    back = Moments.from_arrays(load_file(tmp_path / "moments.safetensors"))
    assert back.n == 30
    np.testing.assert_array_equal(back.mean, moments.mean)
    np.testing.assert_array_equal(back.scatter, moments.scatter)
    with pytest.raises(ValueError, match="lack 'scatter'"):
        Moments.from_arrays({"n": [3], "mean": np.zeros(2)})
    with pytest.raises(ValueError, match="shapes"):
        Moments.from_arrays({"n": [3], "mean": np.zeros(2), "scatter": np.zeros((3, 3))})


def test_agrees_with_other_libraries_on_the_same_features() -> None:
    x, y = features(500, 12, 9), features(400, 12, 10, shift=1.0)
    ours = frechet(Moments.of(x), Moments.of(y))
    image = pytest.importorskip("torchmetrics.image.fid")
    theirs = image._compute_fid(
        torch.from_numpy(x.mean(0)), torch.from_numpy(np.cov(x, rowvar=False)),
        torch.from_numpy(y.mean(0)), torch.from_numpy(np.cov(y, rowvar=False)),
    )  # fmt: skip
    assert ours == pytest.approx(float(theirs), rel=1e-8)


@pytest.mark.filterwarnings("ignore")
def test_agrees_with_clean_fid() -> None:
    fid = pytest.importorskip("cleanfid.fid")
    x, y = features(300, 10, 11), features(200, 10, 12)
    try:
        theirs = fid.fid_from_feats(x, y)
    except TypeError:  # scipy 1.18 removed the argument that clean-fid passes to sqrtm
        pytest.skip("clean-fid cannot call this scipy's sqrtm")
    assert frechet(Moments.of(x), Moments.of(y)) == pytest.approx(float(theirs), rel=1e-7)


def test_what_cannot_be_measured_is_refused_or_nan() -> None:
    x = Moments.of(features(5, 3, 13))
    with pytest.raises(ValueError, match="at least 2 rows, not 1"):
        frechet(x, Moments.of(np.zeros((1, 3))))
    with pytest.raises(ValueError, match="3 and 4 dimensions"):
        frechet(x, Moments.of(np.zeros((5, 4))))
    with pytest.raises(ValueError, match="3 and 4 dimensions"):
        x.merge(Moments.empty(4))
    with pytest.raises(ValueError, match=r"\[N, D\], not \[3\]"):
        Moments.of(np.zeros(3))
    assert np.isnan(frechet(x, Moments.of(np.full((4, 3), np.inf))))
