"""Trainings that ended worse than they began: ranked, but never without a word."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.tables.wording import count

if TYPE_CHECKING:
    import pandas as pd

NOISE = 0.1
"""Within this share of the loss of an untrained network a loss is not separable from it: that is noise of a short run."""
NOTHING = (
    f"no formulation's validation loss is more than {NOISE:.0%} below that of an untrained network, so that the order "
    f"means nothing: train for longer, or with a smaller --lr where the loss rose."
).replace("%", " %")
"""The answer where `nothing_learned`."""
SHOWN = 4
"""Trainings that are named one by one."""


@dataclass(frozen=True)
class Untrained:
    """A training whose validation loss is so many ``times`` that of an untrained network."""

    formulation: str
    dataset: str
    seed: int
    times: float


def found(rows: pd.DataFrame) -> tuple[Untrained, ...]:
    """The trainings of a checked table whose loss is above that of an untrained network, worst first."""
    done = _trainings(rows)
    worse = done[done["times"] > 1 + NOISE].sort_values("times", ascending=False, kind="stable")
    columns = worse[["formulation", "dataset", "seed", "times"]]
    return tuple(
        Untrained(str(f), str(d), int(s), float(t)) for f, d, s, t in columns.itertuples(index=False)
    )


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


def lines(trainings: Sequence[Untrained]) -> list[str]:
    """A line for each of the worst trainings, and how many more there are."""
    shown = [
        f"not trained: {t.formulation} on {t.dataset}, seed {t.seed}:"
        f" its validation loss is {float(f'{t.times:.2g}'):,g} times that of an untrained network"
        for t in trainings[:SHOWN]
    ]
    more = len(trainings) - SHOWN
    return shown + [f"not trained: {count(more, 'more training')} of such a loss"] * (more > 0)
