"""The whole ranking against a second, naive one; rules for ties, missing, diverged and several seeds."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.runs.run import read
from flowbench._core.errors import UserError

from . import rankings
from .rankings import frame_of as rank

PAPER = Path(__file__).parents[2] / "results" / "paper"
SAMPLERS = [(50, 1.0), (50, 2.5), (50, 5.0), (5, 5.0), (10, 5.0), (25, 5.0)]


def study(formulations: int = 7, seeds: int = 1, seed: int = 0, level: float = 1.0) -> pd.DataFrame:
    """A made-up grid: ``formulations`` x 2 datasets x ``seeds`` x 2 weights x 6 samplers, with many ties."""
    rng = np.random.default_rng(seed)
    rows = [
        {
            "formulation": f"rf/mode({i}.00)",
            "dataset": dataset,
            "seed": s,
            "weights": weights,
            "steps": steps,
            "cfg": cfg,
            "clip": float(rng.integers(20, 30)),
            "fid": level * float(rng.integers(5, 20)),
        }
        for i in range(formulations)
        for dataset, s, weights, (steps, cfg) in itertools.product(
            ("shapes", "digits"), range(seeds), ("ema", "raw"), SAMPLERS
        )
    ]
    return pd.DataFrame(rows)


def naive(rows: list[dict]) -> dict[str, dict[str, float]]:
    """The ranking written a second time: plain loops over plain rows."""

    def good(row: dict | None, metric: str) -> bool:
        return row is not None and row.get("status", "done") == "done" and math.isfinite(row[metric])

    def peel(entries: dict[str, tuple[float, ...] | None]) -> dict[str, int]:
        left = {name: costs for name, costs in entries.items() if costs is not None}
        index, front = {}, 0
        while left:
            front += 1
            best = [
                name
                for name, costs in left.items()
                if not any(
                    all(a <= b for a, b in zip(other, costs, strict=True)) and other != costs
                    for other in left.values()
                )
            ]
            for name in best:
                index[name] = front
                del left[name]
        return {name: index.get(name, front + 1) for name in entries}

    names = sorted({row["formulation"] for row in rows})
    cells: dict[tuple, dict[str, dict]] = {}
    for row in rows:
        key = (row["dataset"], row.get("seed", 0), row["weights"], row["steps"], row["cfg"])
        cells.setdefault(key, {})[row["formulation"]] = row
    sums: dict[str, dict[str, list[int]]] = {name: {} for name in names}
    for (_, _, _, steps, cfg), found in cells.items():
        entries = {n: found.get(n) for n in names}
        both = peel(
            {
                n: (-r["clip"], r["fid"]) if r is not None and good(r, "clip") and good(r, "fid") else None
                for n, r in entries.items()
            }
        )
        clip = peel(
            {n: (-r["clip"],) if r is not None and good(r, "clip") else None for n, r in entries.items()}
        )
        fid = peel({n: (r["fid"],) if r is not None and good(r, "fid") else None for n, r in entries.items()})
        for n in names:
            into = sums[n]
            into.setdefault("rank_all", []).append(both[n])
            into.setdefault("rank_clip", []).append(clip[n])
            into.setdefault("rank_fid", []).append(fid[n])
            if steps == 5:
                into.setdefault("rank_5", []).append(both[n])
            if steps == 50 and cfg == 5.0:
                into.setdefault("rank_50", []).append(both[n])
    return {n: {column: sum(v) / len(v) for column, v in columns.items()} for n, columns in sums.items()}


def damaged(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Some rows gone, some diverged, some not finite."""
    rng = np.random.default_rng(seed)
    frame = frame.assign(status="done")
    kind = rng.choice(
        ["keep", "gone", "diverged", "nan", "inf"], size=len(frame), p=[0.7, 0.1, 0.1, 0.05, 0.05]
    )
    frame.loc[kind == "diverged", "status"] = "diverged"
    frame.loc[kind == "nan", "fid"] = np.nan
    frame.loc[kind == "inf", "clip"] = np.inf
    return frame[kind != "gone"].sample(frac=1, random_state=seed)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("whole", [True, False])
def test_agrees_with_a_second_implementation(seed: int, whole: bool) -> None:
    frame = study(formulations=9, seeds=2, seed=seed)
    frame = frame if whole else damaged(frame, seed)
    found = rank(frame).set_index("formulation")
    expected = naive(frame.to_dict("records"))
    assert set(found.index) == set(expected)
    for name, columns in expected.items():
        for column, value in columns.items():
            assert found.loc[name, column] == pytest.approx(value, rel=1e-12), (name, column)
    assert found["rank_all"].is_monotonic_increasing


def test_ranking_is_pure_and_free_of_row_order() -> None:
    frame = study()
    before = frame.copy(deep=True)
    pd.testing.assert_frame_equal(rank(frame), rank(frame.sample(frac=1, random_state=1)))
    pd.testing.assert_frame_equal(frame, before)


def test_columns_of_few_and_many_steps_are_four_settings_each() -> None:
    # One formulation is best only where the column looks, and second in all other settings.
    def one(good: set[tuple[int, float]]) -> pd.DataFrame:
        frame = study(formulations=2)
        first = frame["formulation"] == "rf/mode(0.00)"
        here = [pair in good for pair in zip(frame["steps"], frame["cfg"], strict=True)]
        frame["clip"] = 25.0
        frame["fid"] = np.where(first, np.where(here, 1.0, 3.0), 2.0)
        return rank(frame).set_index("formulation").loc["rf/mode(0.00)"]

    assert one({(5, 5.0)})[["rank_all", "rank_5", "rank_50"]].tolist() == [
        pytest.approx(2 - 4 / 24),
        1.0,
        2.0,
    ]
    assert one({(50, 5.0)})[["rank_5", "rank_50"]].tolist() == [2.0, 1.0]
    assert one({(50, 1.0), (50, 2.5)})[["rank_5", "rank_50"]].tolist() == [2.0, 2.0]


def test_column_of_many_steps_follows_the_guidance_of_the_few() -> None:
    frame = study(formulations=3)
    other = frame.assign(cfg=frame["cfg"].replace({5.0: 4.0}))
    np.testing.assert_array_equal(rank(other)["rank_50"], rank(frame)["rank_50"])
    alone = rank(frame[frame["steps"] == 50])
    assert alone["rank_5"].isna().all()
    np.testing.assert_array_equal(
        alone.set_index("formulation")["rank_50"].sort_index(),
        rank(frame).set_index("formulation")["rank_50"].sort_index(),
    )


def test_equal_points_share_and_equal_ranks_are_in_order_of_names() -> None:
    frame = study(formulations=4).assign(clip=25.0, fid=10.0)
    found = rank(frame)
    assert found["rank_all"].tolist() == [1.0] * 4
    assert found["formulation"].tolist() == sorted(found["formulation"])


def test_diverged_failed_missing_and_not_finite_rank_last_and_are_counted() -> None:
    frame = study(formulations=5).assign(clip=25.0, fid=10.0, status="done", val_loss=0.5)
    name = frame["formulation"]
    frame.loc[name == "rf/mode(0.00)", "status"] = "diverged"  # with numbers, which must not count
    frame.loc[name == "rf/mode(0.00)", "fid"] = 1.0
    frame.loc[(name == "rf/mode(1.00)") & (frame["steps"] == 50), "fid"] = np.nan
    frame = frame[~((name == "rf/mode(2.00)") & (frame["steps"] == 5))]
    frame.loc[name == "rf/mode(3.00)", "status"] = "failed"
    found = rank(frame).set_index("formulation").sort_index()
    assert found["rank_all"].tolist() == [2.0, 1.5, 1 + 4 / 24, 2.0, 1.0]
    assert found["diverged"].tolist() == [24, 0, 0, 0, 0]
    assert found["failed"].tolist() == [0, 0, 0, 24, 0]
    assert found["missing"].tolist() == [0, 12, 4, 0, 0]
    assert np.isnan(found.loc["rf/mode(0.00)", "fid"])
    assert np.isnan(found.loc["rf/mode(0.00)", "val_loss"])
    assert found.loc["rf/mode(1.00)", "fid"] == 10.0


def test_nothing_is_ranked_if_all_diverged() -> None:
    with pytest.raises(UserError, match="nothing to rank"):
        rank(study(formulations=3).assign(status="diverged", clip=None, fid=None))


def test_nothing_is_ranked_in_a_setting_without_any_value() -> None:
    frame = study(formulations=3)
    fewer = frame[frame["steps"] != 5]
    frame.loc[frame["steps"] == 5, ["clip", "fid"]] = np.nan
    found, expected = (rank(f).set_index("formulation")["rank_all"] for f in (frame, fewer))
    pd.testing.assert_series_equal(found.sort_index(), expected.sort_index())


def test_every_seed_is_a_setting_of_its_own() -> None:
    a = study(formulations=6, seed=1)
    both = pd.concat([a, study(formulations=6, seed=2).assign(seed=1)])
    apart = [
        rank(f).set_index("formulation")["rank_all"] for f in (both[both.seed == 0], both[both.seed == 1])
    ]
    together = rank(both).set_index("formulation")["rank_all"]
    pd.testing.assert_series_equal(together.sort_index(), ((apart[0] + apart[1]) / 2).sort_index())
    assert rankings.rank(both).facts.seeds == 2


def test_means_and_validation_loss() -> None:
    frame = study(formulations=3)
    # Digits has fewer settings left; a cell's loss still counts once.
    frame["val_loss"] = np.where(frame["dataset"] == "shapes", 1.0, 2.0) + frame["formulation"].str[8].astype(
        int
    )
    frame = frame[(frame["dataset"] == "shapes") | (frame["steps"] == 50)]
    found = rank(frame).set_index("formulation").sort_index()
    assert found["val_loss"].tolist() == [1.5, 2.5, 3.5]
    assert found["rank_val_loss"].tolist() == [1.0, 2.0, 3.0]
    for metric in ("clip", "fid"):
        np.testing.assert_allclose(found[metric], frame.groupby("formulation")[metric].mean())


@pytest.mark.parametrize("by", ["steps", "dataset", "cfg", "weights"])
def test_groups_are_rankings_of_their_part(by: str) -> None:
    frame = study(formulations=6)
    found = rank(frame, by=by).set_index("formulation").sort_index()
    for value, part in frame.groupby(by):
        label = f"rank[{by}={value:g}]" if isinstance(value, float) else f"rank[{by}={value}]"
        np.testing.assert_allclose(found[label], rank(part).set_index("formulation").sort_index()["rank_all"])


def test_unknown_group() -> None:
    with pytest.raises(UserError, match="cannot group by 'step'; did you mean 'steps'"):
        rank(study(), by="step")


def test_without_one_metric_the_other_ranks_alone() -> None:
    frame = study().assign(clip=None)
    found = rank(frame)
    np.testing.assert_array_equal(found["rank_all"], found["rank_fid"])
    assert rankings.rank(frame).facts.objectives == ("fid",)
    assert "rank_clip" not in found
    assert (found["missing"] == 0).all()


def test_published_averages_are_rank_sums() -> None:
    table = pd.read_csv(PAPER / "table1.csv", dtype=str)
    assert len(table) == 16
    for _, row in table.iterrows():
        # Half up, as 69/24 = 2.875 is printed 2.88 and 135/24 = 5.625 is printed 5.63.
        assert math.floor(int(row.rank_sum_24) * 100 / 24 + 0.5) == round(float(row.rank_all) * 100), (
            row.formulation
        )
        assert (float(row.rank_5) * 4) % 1 == 0
        assert (float(row.rank_50) * 4) % 1 == 0
    assert table["rank_sum_24"].astype(int).is_monotonic_increasing


def test_fronts_of_the_published_25_step_table() -> None:
    frame = read(PAPER / "table2.csv").frame
    assert len(frame) == 20
    # Worked by hand from the printed numbers.
    expected = {
        "imagenet": [
            {"rf/lognorm(0.50,0.60)", "rf/mode(1.75)"},
            {"rf/lognorm(1.00,0.60)", "rf/lognorm(0.00,1.00)", "rf/lognorm(-0.50,1.00)"},
            {"rf", "eps/linear"},
            {"v/linear", "v/cos"},
            {"edm(-1.20,1.20)"},
        ],
        "cc12m": [
            {
                "rf/lognorm(1.00,0.60)",
                "rf/lognorm(0.50,0.60)",
                "rf/lognorm(0.00,1.00)",
                "rf/lognorm(-0.50,1.00)",
            },
            {"eps/linear"},
            {"rf/mode(1.75)"},
            {"rf"},
            {"v/linear", "v/cos"},
            {"edm(-1.20,1.20)"},
        ],
    }
    for dataset, parts in expected.items():
        found = rank(frame[frame["dataset"] == dataset]).set_index("formulation")["rank_all"]
        assert [set(found.index[found == i + 1]) for i in range(len(parts))] == parts
    both = rank(frame).set_index("formulation")["rank_all"]
    assert both["rf/lognorm(0.00,1.00)"] == 1.5
    assert both["edm(-1.20,1.20)"] == 5.5


def test_a_distance_that_is_not_positive_ranks_as_it_is() -> None:
    frame = study(formulations=5, seeds=3)
    frame.loc[frame["formulation"] == "rf/mode(2.00)", "fid"] -= 30.0
    found = rank(frame).set_index("formulation")
    assert found["rank_all"]["rf/mode(2.00)"] == 1.0
    assert found["position_low"]["rf/mode(2.00)"] == 1
    # Without logarithms, FID itself is modelled, and the best of its column is the best.
    assert (found["fid_low"] < found["fid"]).all()
    assert list(found.index[found["fid_tied"]]) == ["rf/mode(2.00)"]
    assert [r.log for r in rankings.rank(frame).facts.resolution if r.response == "fid"] == [False]
