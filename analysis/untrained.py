"""Trainings that ended worse than they began: ranked, but never without a word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .wording import count

if TYPE_CHECKING:
    import pandas as pd

LEAST = 1.1
"""How many times the loss of an untrained network a training must have to be named: less is noise of a short run."""
SHOWN = 4
"""Trainings that are named one by one."""


def found(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The trainings of a checked table whose loss is above that of an untrained network, and how many times; worst first."""
    if "untrained_loss" not in rows or "val_loss" not in rows:
        return []
    done = rows[rows["status"] == "done"].drop_duplicates(["formulation", "dataset", "seed"])
    times = done["val_loss"] / done["untrained_loss"]
    worse = done.assign(times=times)[times > LEAST].sort_values("times", ascending=False, kind="stable")
    return [
        {"formulation": str(f), "dataset": str(d), "seed": int(s), "times": float(t)}
        for f, d, s, t in worse[["formulation", "dataset", "seed", "times"]].itertuples(index=False)
    ]


def lines(trainings: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each of the worst trainings, and how many more there are."""
    told = [
        f"not trained: {t['formulation']} on {t['dataset']}, seed {t['seed']}:"
        f" its validation loss is {rounded(t['times']):,g} times that of an untrained network"
        for t in trainings[:SHOWN]
    ]
    more = len(trainings) - SHOWN
    return told + [f"not trained: {count(more, 'more training')} of such a loss"] * (more > 0)


def rounded(times: float) -> float:
    """To two digits."""
    return float(f"{times:.2g}")
