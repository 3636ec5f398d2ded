"""The study's view of its 61 formulations: of each family the two best, as in table 1 of arXiv 2403.03206."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

KEPT = 2
"""Variants of a family that the study shows."""


def family(name: str) -> str:
    """A formulation's name without its numbers: ``rf/lognorm`` of ``rf/lognorm(0.00,1.00)``, ``edm`` of
    ``edm(0.00,0.60)``."""
    return re.sub(r"\([^()]*\)", "", name)


def best_of_each(ranking: pd.DataFrame) -> pd.DataFrame:
    """The rows of a ranking whose formulation is among the two best of its family over all settings, those with 5
    steps, or those with 50."""
    families = ranking["formulation"].map(family)
    chosen = ranking["formulation"].isna()
    for column in ("rank_all", "rank_5", "rank_50"):
        if ranking[column].notna().any():
            place = ranking[column].groupby(families).rank(method="first")
            chosen |= place <= KEPT
    kept = ranking[chosen].reset_index(drop=True)
    kept.attrs.update(ranking.attrs)
    return kept
