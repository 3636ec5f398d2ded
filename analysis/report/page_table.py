"""The ranking for a page: what `analysis.ranking.render` shows, with the values to sort by."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from analysis.published import families
from analysis.ranking import render
from analysis.ranking.result import STATES, RankingResult
from analysis.runs.private import without_paths
from analysis.tables import output
from bench.metrics.metric import Metric

EXPLAINED = {
    "rank_all": "mean index of the Pareto front on CLIP and FID over all control settings; 1 is best",
    "position": "where its place in the order may lie, 95 %",
    "front_one": "how often it is on front 1 of a setting, in the true orders that these seeds allow",
    "wins": "share of datasets and seeds in which its mean front is smaller than the leader's; ties count half",
    "rank_5": "mean front over the settings with 5 steps",
    "rank_50": "mean front over the settings with 50 steps and the guidance of the 5-step settings",
}
"""Columns that are no metric."""

ALWAYS = ("rank_all", "clip", "fid")
"""Columns that a narrow screen shows, too."""


@dataclass(frozen=True)
class Column:
    """``descending``: the best is the largest; ``optional`` columns are hidden until asked for."""

    key: str
    heading: str
    explained: str
    descending: bool
    optional: bool

    @property
    def shown(self) -> str:
        """Its class on the page: ``always``, ``wide`` (not on a narrow screen) or ``optional``."""
        return "optional" if self.optional else "always" if self.key in ALWAYS else "wide"


@dataclass(frozen=True)
class Entry:
    """One cell of the table: ``number`` and the margin ``±`` as text, and ``value`` to sort by; None comes last.

    ``span`` of a place: where its interval begins and how long it is, in percent of all places.
    """

    number: str
    margin: str
    value: float | None
    best: bool
    tied: bool
    span: tuple[float, float] | None


@dataclass(frozen=True)
class Row:
    """A formulation; ``lost`` of its settings have no value, ``tied``: not separable from the best by its fronts."""

    formulation: str
    family: str
    tied: bool
    lost: bool
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Ranking:
    """``references`` are rows of real images: a name and texts under the columns. ``csv`` holds exact values as a data URI,
    so that a link can offer it as a file; ``latex`` is what the page shows. Both are without paths of the machine."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    references: tuple[tuple[str, tuple[str, ...]], ...]
    notes: tuple[str, ...]
    csv: Markup
    latex: str

    @property
    def families(self) -> list[str]:
        """Those of the rows, in order."""
        return sorted({row.family for row in self.rows})


def table(ranking: RankingResult) -> Ranking:
    """The page's table of a ranking (`analysis.ranking.ranking.rank`)."""
    made = render.ranking_table(ranking)
    metrics = {metric.name: metric for metric in ranking.facts.metrics}
    columns = tuple(
        _column(key, heading, metrics, heading in made.optional and key not in render.LAST)
        for key, heading in zip(made.keys[1:], map(str, made.cells.columns[1:]), strict=True)
    )
    count, lost = len(made.best), ranking.lost
    tied = ranking.columns["rank_all"].not_separable
    rows = []
    for i, name in enumerate(ranking.names):
        entries = tuple(
            Entry(
                str(made.cells[c.heading].iloc[i]),
                str(made.margins[c.heading].iloc[i]),
                _value(ranking, c.key, i),
                bool(made.best[c.heading].iloc[i]),
                bool(made.tied[c.heading].iloc[i]),
                _span(ranking, i) if c.key == "position" else None,
            )
            for c in columns
        )
        rows.append(Row(name, families.family(name), bool(tied[name]), bool(lost[name]), entries))
    references = tuple(
        (str(line["formulation"]), tuple(str(line[c.heading]) for c in columns))
        for _, line in made.cells.iloc[count:].iterrows()
    )
    csv, latex = (without_paths(output.write([made], format)) for format in ("csv", "latex"))
    coded = base64.b64encode(f"{csv}\n".encode()).decode()
    uri = Markup(f"data:text/csv;charset=utf-8;base64,{coded}")
    return Ranking(columns, tuple(rows), references, tuple(made.notes), uri, latex)


def _column(key: str, heading: str, metrics: Mapping[str, Metric], optional: bool) -> Column:
    metric, alone = metrics.get(key), metrics.get(key.removeprefix("rank_"))
    if metric is not None:
        explained = "; ".join(filter(None, (metric.explained, metric.direction)))
        return Column(key, heading, explained, bool(metric.higher_is_better), optional)
    explained = f"mean rank by {alone.label} alone" if alone else EXPLAINED.get(key, "")
    return Column(key, heading, explained, key in ("front_one", "wins"), optional)


def _span(ranking: RankingResult, row: int) -> tuple[float, float] | None:
    place = ranking.columns["position"]
    low, high = (math.nan if end is None else float(end.iloc[row]) for end in (place.low, place.high))
    if not math.isfinite(low + high):
        return None
    share = 100 / len(ranking.names)
    return round((low - 1) * share, 1), round((high - low + 1) * share, 1)


def _value(ranking: RankingResult, key: str, row: int) -> float | None:
    """The number behind an entry; for the entries that are lost, how many."""
    if key == "lost":
        return float(ranking.counts[list(STATES)].iloc[row].sum())
    found: Any = ranking.value(key).iloc[row]
    number = float(found) if found is not None and found == found else math.nan
    return number if math.isfinite(number) else None
