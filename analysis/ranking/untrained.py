"""Trainings that ended worse than they began: ranked, but never without a word."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from analysis.tables.wording import count

if TYPE_CHECKING:
    import pandas as pd

NOISE = 0.1
"""Within this share of the loss of an untrained network a loss cannot be told from it: that is noise of a short run."""
NOTHING = (
    f"no formulation's validation loss is more than {NOISE:.0%} below that of an untrained network, so that the order "
    f"tells nothing: train for longer, or with a smaller --lr where the loss rose."
).replace("%", " %")
"""What is said of a ranking in which `nothing_learned`."""
SHOWN = 4
"""Trainings that are named one by one."""


def found(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The trainings of a checked table whose loss is above that of an untrained network, and how many times; worst first."""
    done = _trainings(rows)
    worse = done[done["times"] > 1 + NOISE].sort_values("times", ascending=False, kind="stable")
    return [
        {"formulation": str(f), "dataset": str(d), "seed": int(s), "times": float(t)}
        for f, d, s, t in worse[["formulation", "dataset", "seed", "times"]].itertuples(index=False)
    ]


def nothing_learned(rows: pd.DataFrame) -> bool:
    """Whether no formulation of a checked table has a validation loss that lies, on average over its trainings, below
    that of an untrained network by more than noise; False where no losses of untrained networks are known."""
    times = _trainings(rows).dropna(subset=["times"]).groupby("formulation", observed=True)["times"].mean()
    return bool(len(times) and (times > 1 - NOISE).all())


def _trainings(rows: pd.DataFrame) -> pd.DataFrame:
    """The finished trainings, and how many ``times`` the loss of an untrained network each has."""
    done = rows[rows["status"] == "done"].drop_duplicates(["formulation", "dataset", "seed"])
    known = "untrained_loss" in rows and "val_loss" in rows
    return done.assign(times=done["val_loss"] / done["untrained_loss"] if known else math.nan)


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
