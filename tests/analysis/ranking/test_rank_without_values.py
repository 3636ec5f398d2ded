"""Rankings of tables in which values are not numbers, or are lacking everywhere."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.ranking.render import ranking_table
from analysis.tables.output import write
from flowbench._core.errors import UserError

from ..rankings import rank


def table(datasets: tuple[str, ...] = ("a", "b"), seeds: int = 3) -> pd.DataFrame:
    """Three formulations, the later the better, with some noise."""
    rng = np.random.default_rng(0)
    rows = [
        {"formulation": f"rf/mode({i}.00)", "dataset": dataset, "weights": "ema", "steps": steps, "cfg": 5.0}
        | {"seed": seed, "clip": 30 + i + 0.5 * rng.normal(), "fid": 20 - i + 0.5 * rng.normal()}
        for i in range(3)
        for dataset in datasets
        for seed in range(seeds)
        for steps in (5, 50)
    ]
    return pd.DataFrame(rows)


def test_infinite_values_only_are_nothing_to_rank() -> None:
    with pytest.raises(UserError, match="no formulation has a CLIP score or FID in any setting"):
        rank(table().assign(clip=np.inf, fid=-np.inf))


def test_values_that_never_meet_are_nothing_to_rank() -> None:
    frame = table()
    frame.loc[frame["dataset"] == "a", "clip"] = np.nan
    frame.loc[frame["dataset"] == "b", "fid"] = np.inf
    with pytest.raises(UserError, match="no formulation has both a CLIP score and a FID in any setting"):
        rank(frame)


def test_settings_without_values_are_counted() -> None:
    frame = table()
    frame.loc[frame["dataset"] == "b", "clip"] = np.nan
    found = rank(frame)
    only = rank(frame[frame["dataset"] == "a"])
    assert (found.value("rank_all") == only.value("rank_all")).all()
    assert (found.facts.settings, found.facts.uncounted) == (6, 6)
    note = "6 more settings in which no formulation has CLIP and FID: not ranked"
    assert note in write([ranking_table(found)])
    assert "more setting" not in write([ranking_table(only)])


def test_seeds_that_are_all_alike_give_no_interval() -> None:
    frame = table(seeds=1)
    frame.loc[frame["steps"] == 5, "clip"] = 30.0  # so that mean fronts are no whole numbers
    found = rank(pd.concat([frame.assign(seed=s) for s in range(3)], ignore_index=True))
    for column in ("rank_all", "clip", "fid"):
        estimate = found.columns[column]
        assert estimate.low is None
        assert estimate.tied is not None
        assert estimate.tied.isna().all()
    printed = write([ranking_table(found)])
    assert "resolution, rank: the same in all 3 seeds, so the noise of seeds is unknown" in printed
    assert "\u00b10" not in printed


def test_without_an_interval_the_reason_is_said() -> None:
    frame = table()
    columns = ["rank_tied", "clip_tied", "fid_tied", "position_low", "position_high"]
    for part, why in (
        (frame[(frame["dataset"] == "a") | (frame["seed"] == 0)], "one seed of b"),
        (
            frame[(frame["seed"] > 0) | (frame["steps"] == 5)],
            "the seeds of a, b do not have the same settings",
        ),
    ):
        found = rank(part)
        assert found.frame()[columns].isna().all(axis=None)
        note = f"no interval of rank, CLIP, FID: {why}, so the noise of seeds is unknown"
        assert note in write([ranking_table(found)])
    assert "no interval" not in write([ranking_table(rank(frame))])
