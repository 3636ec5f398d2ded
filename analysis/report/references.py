"""How the formulations stand against real images and against images of squares only, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.ranking import real_rows
from analysis.ranking.result import RankingResult
from analysis.tables.wording import count

REAL, SQUARES = "real images", "squares only"
"""Names of `analysis.runs.run.REFERENCES`."""


def against_references(ranking: RankingResult) -> Iterator[str]:
    """Where a metric no longer measures quality, as values are better than those of real images, and where the images show
    too little to be compared, as all are behind images that show squares for all shapes."""
    given = {row["formulation"]: row for row in real_rows.rows(ranking.facts)}
    for name in ranking.facts.objectives:
        metric = ranking.facts.metric(name)
        if metric is None or metric.higher_is_better is None or name not in ranking.columns:
            continue
        sign = 1 if metric.higher_is_better else -1
        values = ranking.value(name).dropna() * sign
        real, squares = (given.get(row, {}).get(name) for row in (REAL, SQUARES))
        if real is not None and (better := int((values > sign * real).sum())):
            yield (
                f"In {metric.title} {better} of {count(len(values), 'formulation')} {'is' if better == 1 else 'are'} better "
                f"than real images ({real:.4g}): beyond their value it does not measure quality."
            )
        if squares is not None and len(values) and (values < sign * squares).all():
            yield (
                f"In {metric.title} all formulations are behind images that show squares only ({squares:.4g}): little of "
                f"the captions is drawn."
            )
