"""The study's view of its 61 formulations: of each family the two best, as in table 1 of arXiv 2403.03206."""

from __future__ import annotations

import re

from analysis.ranking.result import RankingResult

KEPT = 2
"""Variants of a family that the study shows."""


def family(name: str) -> str:
    """A formulation's name without its numbers: ``rf/lognorm`` of ``rf/lognorm(0.00,1.00)``, ``edm`` of
    ``edm(0.00,0.60)``."""
    return re.sub(r"\([^()]*\)", "", name)


def best_of_each(ranking: RankingResult) -> list[str]:
    """The formulations that are among the two best of their family over all settings, those with 5 steps, or those with
    50, best first."""
    families, chosen = ranking.counts.index.map(family), set[str]()
    for column in ("rank_all", "rank_5", "rank_50"):
        place = ranking.value(column).groupby(families).rank(method="first")
        chosen |= set(place.index[place <= KEPT])
    return [name for name in ranking.names if name in chosen]
