"""Paired differences against plain loops; what is counted, what is lost, and which scale."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.comparisons import paired
from analysis.comparisons.paired import Lost, Measured
from analysis.runs import schema
from flowbench._core.errors import UserError

from ..rankings import results

SETTINGS = [(50, 1.0), (50, 5.0), (5, 5.0)]


def study(
    names: tuple[str, ...] = ("a", "b"), seeds: int = 4, datasets: tuple[str, ...] = ("shapes",)
) -> Any:
    """A checked table of noise: three settings, a CLIP score, a FID, and a loss of each training."""
    rng = np.random.default_rng(0)
    rows = []
    for name, dataset, seed in itertools.product(names, datasets, range(seeds)):
        loss = rng.uniform(0.4, 0.6)
        for steps, cfg in SETTINGS:
            clip, fid = rng.uniform(20, 30), rng.uniform(10, 20)
            rows.append((name, dataset, seed, "ema", steps, cfg, clip, fid, loss, "done"))
    columns = [
        "formulation",
        "dataset",
        "seed",
        "weights",
        "steps",
        "cfg",
        "clip",
        "fid",
        "val_loss",
        "status",
    ]
    return schema.check(pd.DataFrame(rows, columns=columns)).frame


def measured(frame: pd.DataFrame, metric: str) -> Measured:
    return paired.measured(results(frame), metric)


def cell(frame: pd.DataFrame, name: str, seed: int, dataset: str = "shapes") -> Any:
    return (frame["formulation"] == name) & (frame["seed"] == seed) & (frame["dataset"] == dataset)


def test_differences_are_of_means_over_settings_datasets_last() -> None:
    frame = study(datasets=("shapes", "digits"))
    mean = frame.groupby(["formulation", "dataset", "seed"])[["clip", "fid", "val_loss"]].mean()
    for metric, scale in (("clip", float), ("fid", math.log), ("val_loss", math.log)):
        expected = [
            np.mean(
                [
                    scale(mean.loc[("a", d, s), metric]) - scale(mean.loc[("b", d, s), metric])
                    for d in ("shapes", "digits")
                ]
            )
            for s in range(4)
        ]
        found = measured(frame, metric)
        np.testing.assert_allclose(found.differences("a", "b"), expected, rtol=1e-9)
        np.testing.assert_allclose(found.differences("b", "a"), -np.array(expected), rtol=1e-9)
        sign = 1 if metric == "clip" else -1
        np.testing.assert_allclose(found.better("a", "b"), sign * np.array(expected), rtol=1e-9)


def test_a_pair_uses_the_seeds_that_both_have_finished() -> None:
    frame = study(("a", "b", "c"))
    frame = frame[~cell(frame, "a", 3)]  # trained no longer
    frame.loc[cell(frame, "b", 0), "status"] = "pending"
    found = measured(frame, "fid")
    whole = measured(study(("a", "b", "c")), "fid")
    np.testing.assert_array_equal(found.differences("a", "b"), whole.differences("a", "b")[[1, 2]])
    np.testing.assert_array_equal(found.differences("c", "b"), whole.differences("c", "b")[[1, 2, 3]])
    assert [found.lost(name) for name in found.names] == [(), (), ()]


def test_seeds_that_one_of_two_datasets_lacks_are_not_counted() -> None:
    frame = study(datasets=("shapes", "digits"))
    whole = measured(frame, "clip").differences("a", "b")
    less = frame[~cell(frame, "a", 2, "digits")]
    np.testing.assert_array_equal(measured(less, "clip").differences("a", "b"), whole[[0, 1, 3]])


def test_a_dataset_without_the_metric_has_no_part_in_it() -> None:
    frame = study(datasets=("shapes", "digits"))
    frame.loc[frame["dataset"] == "digits", "clip"] = np.nan
    shapes = measured(frame[frame["dataset"] == "shapes"], "clip")
    found = measured(frame, "clip")
    np.testing.assert_array_equal(found.differences("a", "b"), shapes.differences("a", "b"))
    assert found.lost("a") == ()
    assert len(measured(frame, "fid").differences("a", "b")) == 4


def test_lost_entries() -> None:
    frame = study(("a", "b", "c"), seeds=5)
    frame.loc[cell(frame, "a", 1), "status"] = "diverged"
    frame.loc[cell(frame, "a", 2), "status"] = "failed"
    frame.loc[cell(frame, "a", 4), "status"] = "pending"
    frame.loc[cell(frame, "b", 3) & (frame["steps"] == 5), "fid"] = np.nan
    found = measured(frame, "fid")
    assert found.lost("a") == (Lost("a", "diverged", 1, 4), Lost("a", "failed", 1, 4))
    assert found.lost("b") == (Lost("b", "missing", 1, 5),)
    assert found.lost("c") == ()
    assert measured(frame, "val_loss").lost("b") == ()
    assert len(found.differences("a", "b")) == 1  # of the seeds 0 and 3 that a has


def test_a_seed_that_no_formulation_has_whole_is_not_counted() -> None:
    frame = study(seeds=4)
    frame.loc[(frame["seed"] == 2) & (frame["steps"] == 5), "fid"] = np.nan
    found = measured(frame, "fid")
    assert len(found.differences("a", "b")) == 3
    assert found.lost("a") == ()


def test_twins_differ_by_exactly_nothing() -> None:
    frame = study()
    twin = frame[frame["formulation"] == "a"].assign(formulation="twin")
    twin["clip"] *= 1 + 1e-16 * np.arange(len(twin))
    both = pd.concat([frame, twin], ignore_index=True)
    for metric in ("clip", "fid", "val_loss"):
        assert (measured(both, metric).differences("a", "twin") == 0).all()


def test_a_distance_that_is_not_positive_is_compared_as_it_is() -> None:
    frame = study()
    frame.loc[cell(frame, "a", 0), "fid"] = -1.0
    found = measured(frame, "fid")
    assert not found.log
    whole = frame.groupby(["formulation", "seed"])["fid"].mean()
    np.testing.assert_allclose(found.differences("a", "b"), (whole["a"] - whole["b"]).to_numpy())
    with pytest.raises(UserError, match="a margin in percent of it has no meaning"):
        found.limit(5.0)


def test_margins_are_percent_of_log_metrics() -> None:
    frame = study()
    assert measured(frame, "fid").limit(5.0) == pytest.approx(math.log(1.05))
    assert measured(frame, "clip").limit(5.0) == 5.0
    assert measured(frame, "clip").limit(None) is None
    for margin in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(UserError, match=r"the margin is .*, not a positive number"):
            measured(frame, "clip").limit(margin)


def test_before_anything_is_finished_there_are_no_differences() -> None:
    frame = study().assign(status="pending", fid=np.nan, clip=np.nan)
    assert measured(frame, "fid").differences("a", "b").shape == (0,)


def test_rows_of_a_confirmation_have_no_part() -> None:
    frame = study()
    later = frame.assign(seed=frame["seed"] + 1000, phase="confirm")
    both = pd.concat([frame, later], ignore_index=True)
    assert measured(both, "fid").seeds == (0, 1, 2, 3)
    with pytest.raises(UserError, match="nothing to compare"):
        measured(later, "fid")


@pytest.mark.parametrize(
    ("metric", "change", "said"),
    [
        ("fidd", {}, "no metric 'fidd'; did you mean 'fid'"),
        ("kid", {}, "no metric 'kid'"),
        ("path_length", {"path_length": 1.0}, "path length has no better end"),
        ("clip", {"clip": np.nan}, "no values of clip"),
        ("fid", {"status": "diverged"}, "no values of fid"),
    ],
)
def test_mistakes(metric: str, change: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        measured(study().assign(**change), metric)


def test_recipes_are_never_mixed() -> None:
    frame = study()
    frame["fid_name"] = np.where(frame["seed"] == 0, "fid[a,n=64]", "fid[a,n=128]")
    with pytest.raises(UserError, match="mixes 2 recipes of fid"):
        measured(frame, "fid")
