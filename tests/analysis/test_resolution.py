"""The smallest separable gap: a case worked by hand, coverage by simulation, and when there is none."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from analysis.resolution import resolution
from analysis.schema import check


def table(clip: np.ndarray, settings: int = 1, fid: float = 10.0) -> pd.DataFrame:
    """A checked table with ``clip[f, s]`` in every one of ``settings`` settings."""
    rows = [
        {"formulation": f"f{f}", "dataset": "shapes", "seed": s, "weights": "ema", "steps": 5 + k, "cfg": 5.0}
        | {"clip": clip[f, s] + k, "fid": fid * math.exp(clip[f, s])}
        for f, s in np.ndindex(*clip.shape)
        for k in range(settings)
    ]
    return check(pd.DataFrame(rows))


def test_worked_by_hand() -> None:
    # f0: 1, 3 and f1: 4, 8. Residuals from means and the seeds' shift (-1.5, +1.5): +-0.5, so v = 1 with one
    # degree of freedom; t = 12.7062.
    found = resolution(table(np.array([[1.0, 3.0], [4.0, 8.0]]), settings=3), "clip")
    assert found is not None
    assert found.paired_sd == pytest.approx(1.0)
    assert found.sd == pytest.approx(math.sqrt((2 * 1 + 2 * 4) / 2))
    assert found.gap == pytest.approx(12.7062, rel=1e-5)
    assert (found.formulations, found.seeds, found.log) == (2, 2, False)


def test_fid_is_taken_in_logarithms() -> None:
    clip = np.random.default_rng(0).normal(size=(4, 3))
    log, plain = resolution(table(clip), "fid"), resolution(table(clip), "clip")
    assert log is not None
    assert plain is not None
    assert log.gap == pytest.approx(plain.gap)
    assert log.log
    assert resolution(table(clip, fid=-1.0), "fid") is None


def test_a_luck_that_all_formulations_share_leaves_the_gap_alone() -> None:
    rng = np.random.default_rng(1)
    clip = rng.normal(size=(5, 4))
    shared = resolution(table(clip + 10 * rng.normal(size=(1, 4))), "clip")
    own = resolution(table(clip), "clip")
    assert shared is not None
    assert own is not None
    assert shared.gap == pytest.approx(own.gap)
    assert shared.sd > 2 * own.sd


def test_equal_formulations_differ_by_more_than_the_gap_in_5_percent() -> None:
    rng = np.random.default_rng(2)
    runs, wrong, frame = 600, 0, table(np.zeros((6, 3)))
    for _ in range(runs):
        clip = rng.normal(size=(6, 3)) + rng.normal(size=(1, 3))
        found = resolution(frame.assign(clip=clip.ravel()), "clip")
        assert found is not None
        wrong += abs(clip[0].mean() - clip[1].mean()) > found.gap
    assert wrong / runs == pytest.approx(0.05, abs=0.027)  # three standard errors


def test_only_whole_formulations_and_shared_settings_take_part() -> None:
    clip = np.random.default_rng(3).normal(size=(5, 3))
    whole = table(clip[:4])
    frame = table(clip)
    frame.loc[(frame["formulation"] == "f4") & (frame["seed"] == 1), "clip"] = np.nan
    extra = frame[frame["seed"] == 0].assign(steps=99, clip=1e6)
    assert resolution(pd.concat([frame, extra]), "clip") == resolution(whole, "clip")


def test_none_without_two_seeds_or_two_formulations() -> None:
    assert resolution(table(np.ones((4, 1))), "clip") is None
    assert resolution(table(np.ones((1, 4))), "clip") is None
    assert resolution(table(np.ones((3, 3))), "val_loss") is None
