"""Rankings made by hand, with what the page says of them."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from analysis.report import verdict
from analysis.report.wording import BEGIN, END

SIX = ["rf/lognorm(0.00,1.00)", "eps/linear", "edm(-1.20,1.20)", "rf/mode(1.29)", "rf", "v/cos"]


def ranking(
    names: list[str] = SIX,
    ranks: tuple[float, ...] = (1.28, 2.33, 2.39, 2.5, 2.83, 3.28),
    tied: tuple[bool | None, ...] = (True, True, True, True, False, False),
    seeds: int = 3,
    **about: Any,
) -> pd.DataFrame:
    """A ranking as `analysis.ranking.ranking.rank` makes it, as far as the verdict reads it."""
    count = len(names)
    clip = [48.33, 43.9, 40.72, 41.95, 42.47, 37.43][:count]
    made = pd.DataFrame({"formulation": names, "rank_all": ranks, "position": range(1, count + 1)})
    made["clip"], made["fid"], made["val_loss"] = clip, [23.13, 26.3, 25.5, 27.77, 31.14, 33.34][:count], 0.3
    for response in ("rank", "clip", "fid", "val_loss"):
        made[f"{response}_tied"] = pd.array([pd.NA] * count if seeds == 1 else tied, dtype="boolean")
    made["position_low"], made["position_high"] = (math.nan, math.nan) if seeds == 1 else (1.0, 3.0)
    if seeds > 1:
        made["first"] = 0.71
    for state in ("diverged", "failed", "missing"):
        made[state] = 0
    made.attrs = {
        "seeds": seeds,
        "seed_counts": {"shapes": seeds},
        "unknown": {} if seeds > 1 else {"rank": "one seed"},
        "settings": 18,
        "objectives": ["clip", "fid"],
        "provisional": None,
        "untrained": [],
        "nothing_learned": False,
        "resolution": [],
        "agreement": 0.6 if seeds > 1 else None,
        "without_interval": [],
        **about,
    }
    return made


def resolution(
    response: str, lead: float, gap: float, needed: int | None, log: bool = False
) -> dict[str, Any]:
    found = {
        "response": response,
        "lead": lead,
        "gap": gap,
        "seeds_needed": needed,
        "log": log,
        "seeds": 3,
        "fewest": 3,
    }
    return (
        found
        | {"sigma": 1.0, "correlation": 0.5, "df": 10}
        | {"draw": None, "correlation_low": -0.1, "correlation_high": 0.9}
    )


def plain(sentences: tuple[str, ...]) -> list[str]:
    return [s.replace(BEGIN, "").replace(END, "") for s in sentences]


def lead(frame: pd.DataFrame) -> list[str]:
    return plain(verdict.verdict(frame, {}).lead)
