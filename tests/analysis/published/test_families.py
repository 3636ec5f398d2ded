"""The study's view: the two best of each family by any of three columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import formulations
from analysis.published.families import best_of_each, family
from analysis.ranking.result import Estimate

from ..rankings import ranking


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rf", "rf"),
        ("rf/lognorm(0.00,1.00)", "rf/lognorm"),
        ("rf/mode(1.29)", "rf/mode"),
        ("edm(-1.20,1.20)", "edm"),
        ("edm/rf(B)", "edm/rf"),
        ("v/cos/lognorm(0.00,1.00)", "v/cos/lognorm"),
    ],
)
def test_families(name: str, expected: str) -> None:
    assert family(name) == expected


def test_the_61_fall_into_the_families_of_the_study() -> None:
    families = pd.Series(formulations.names("paper")).map(family)
    counts = families.value_counts().to_dict()
    singles = {
        "rf": 1,
        "rf/cosmap": 1,
        "eps/linear": 1,
        "v/linear": 1,
        "eps/cos": 1,
        "v/cos": 1,
        "edm/rf": 1,
        "edm/cos": 1,
    }
    assert counts == {"rf/lognorm": 30, "edm": 15, "rf/mode": 8} | singles


def test_the_union_over_three_columns() -> None:
    names = ["rf", *(f"rf/mode({i}.00)" for i in range(6))]
    made, few = ranking(names, (9.0, 1, 2, 3, 4, 5, 6), (None,) * 7), [9.0, 6, 5, 4, 3, 2, 1]
    columns = {"rank_all": made.columns["rank_all"], "rank_50": made.columns["rank_all"]}

    def shown(few: list[float]) -> list[str]:
        estimate = Estimate(pd.Series(few, index=made.counts.index))
        return best_of_each(replace(made, columns={**columns, "rank_5": estimate}))

    assert shown(few) == [
        "rf",
        "rf/mode(0.00)",
        "rf/mode(1.00)",
        "rf/mode(4.00)",
        "rf/mode(5.00)",
    ]
    assert shown([np.nan] * 7) == ["rf", "rf/mode(0.00)", "rf/mode(1.00)"]
