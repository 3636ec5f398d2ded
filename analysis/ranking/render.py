"""A ranking, and what belongs to it, as tables (`analysis.tables.table`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.ranking import real_rows
from analysis.ranking.confirmation import Confirmation
from analysis.ranking.notes import headings, notes, uneven
from analysis.ranking.result import RANK, STATES, Estimate, RankingResult
from analysis.runs import declared
from analysis.tables.table import LACKING, Table, fixed, jsonable, simple
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

LAST = ("val_loss", "rank_50", "rank_5", "fid", "clip", "position")
"""Columns that a narrow terminal goes without after all others, in this order."""
ALWAYS = (RANK, "ideal_5")
LOST = "lost"
Write = Callable[[Any], str]


def ranking_table(ranking: RankingResult, shown: Sequence[str] | None = None) -> Table:
    """The ranking with notes on what was measured and what could be separated; ``shown`` names the formulations to show.

    Formulations that lack entries are marked ``*``, and so is a mean over less than that of others. Marks are those of the
    whole ranking (`_compared`), whichever rows are shown. Real images and shuffled captions are rows of their own.
    """
    rows, titles = real_rows.rows(ranking.facts), headings(ranking.facts)
    frame = ranking.frame()
    kept = frame["formulation"].isin(ranking.names if shown is None else shown).to_numpy()
    incomplete = ranking.lost.to_numpy()
    text: dict[str, list[str]] = {
        "formulation": [f"{name} {LACKING}" if ranking.lost[name] else name for name in ranking.names]
    }
    keys = {"formulation": "formulation"}
    margins: dict[str, list[str]] = {}
    best, tied, lacking = ({"formulation": np.zeros(len(frame), dtype=bool)} for _ in range(3))
    for column in _shown(ranking):
        heading = titles.get(column, column.removeprefix("rank[").removesuffix("]"))
        write, of = _number(ranking, column), ranking.columns[column]
        keys[heading] = column
        text[heading], margins[heading] = _written(ranking, column, write), _margins(ranking, column, write)
        for row in rows:
            row[heading] = write(row[column]) if column in row else ""
        best[heading], tied[heading] = _compared(ranking, column)
        lacking[heading] = (_lacking(of) & of.value.notna()).to_numpy()
    if incomplete[kept].any():
        keys[LOST] = LOST
        text[LOST] = [
            ", ".join(f"{row[s]} {s}" for s in STATES if row[s]) or "-"
            for _, row in ranking.counts.iterrows()
        ]
    cells = pd.DataFrame(text)
    extra = pd.DataFrame([{c: row.get(c, "") for c in cells.columns} for row in rows], columns=cells.columns)

    def marks(found: dict[str, NDArray[np.bool_]]) -> pd.DataFrame:
        return pd.DataFrame(found).reindex(columns=cells.columns, fill_value=False)[kept]

    return Table(
        "ranking",
        frame[kept],
        pd.concat([cells[kept], extra], ignore_index=True),
        best=marks(best),
        tied=marks(tied),
        lacking=marks(lacking),
        notes=notes(ranking, [name for name, there in zip(ranking.names, kept, strict=True) if there]),
        optional=_optional(titles),
        about={"notes": jsonable(ranking.facts.json())},
        keys=tuple(keys.values()),
        margins=pd.DataFrame(margins, index=cells.index).reindex(columns=cells.columns, fill_value="")[kept],
    )


def _optional(titles: Mapping[str, str]) -> tuple[str, ...]:
    """The headings that a narrow terminal goes without, the first first: from the right."""
    others = [title for column, title in titles.items() if column not in (*LAST, *ALWAYS)]
    return (*reversed(others), LOST, *(titles[column] for column in LAST if column in titles))


def _compared(ranking: RankingResult, column: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which values of a column are its best, and which are not separable from the best.

    There is a best only where something is separated from it: in a column in which all are tied, or which was not compared
    (with one seed, say), none is better than the others. A mean over less than that of others is never the best.
    """
    of = ranking.columns[column]
    tied = of.not_separable
    if of.tied is None or not (of.tied.notna() & ~tied).any():
        return np.zeros(len(tied), dtype=bool), tied.to_numpy()
    fair = of.value.where(~_lacking(of))
    metric = ranking.facts.metric(column)
    top = fair.max() if metric and metric.higher_is_better else fair.min()
    best = tied & (fair == top)
    return best.to_numpy(), (tied & ~best).to_numpy()


def _lacking(of: Estimate) -> pd.Series[bool]:
    """Which means are over less than others."""
    return pd.Series(False, index=of.value.index) if of.lacking is None else of.lacking > 0


def confirmation_table(found: Confirmation) -> Table:
    """The chosen formulations on the seeds that chose them and on fresh ones."""
    columns: dict[str, tuple[str, Callable[[Any], str]]] = {"formulation": ("formulation", str)}
    titles = headings(found.fresh.facts)
    for metric in (RANK, *(m for m in declared.COMPARED if m in found.fresh.columns)):
        write = _number(found.fresh, metric)
        for when in ("first", "fresh"):
            columns[f"{metric}_{when}"] = (f"{when} {titles[metric]}", write)
    seeds = (
        f"seeds {found.seeds[0]} to {found.seeds[-1]}" if len(found.seeds) > 1 else f"seed {found.seeds[0]}"
    )
    notes = [
        f"fresh: {seeds}, which had no part in choosing these formulations: believe these; ranks are among the chosen",
        f"chosen: {found.why}" if found.why else "",
        f"cells of the confirmation that are still to come: {found.pending}" if found.pending else "",
    ]
    of_first, of_fresh = (
        [columns[f"{m}_{when}"][0] for m in reversed(declared.COMPARED) if f"{m}_{when}" in columns]
        for when in ("first", "fresh")
    )
    return simple(
        "confirmation",
        found.table,
        columns,
        [n for n in notes if n],
        "Confirmation on fresh seeds",
        (*of_first, *of_fresh),
    )


def _shown(ranking: RankingResult) -> list[str]:
    groups = [column for column in ranking.columns if column.startswith("rank[")]
    columns = list(headings(ranking.facts))
    at = columns.index("rank_50") + 1
    there = {name for name, of in ranking.columns.items() if of.value.notna().any()}
    place = ranking.columns["position"].low
    if place is None or place.isna().all():
        there.discard("position")
    return [c for c in (*columns[:at], *groups, *columns[at:]) if c in there]


def _written(ranking: RankingResult, column: str, write: Write) -> list[str]:
    """A column as text, a place as its interval."""
    of = ranking.columns[column]
    if column == "position":
        return [_span(low, high) for low, high in zip(*_ends(of), strict=True)]
    if column == "ideal_5":
        whole = [write(v) for v in ranking.value("fid_5")]
        return [f"{write(v)} of {fid}" if v == v else "" for v, fid in zip(of.value, whole, strict=True)]
    return [write(v) for v in of.value]


def _margins(ranking: RankingResult, column: str, write: Write) -> list[str]:
    """The interval of each mean of a metric: half of it, or both ends where it is uneven; empty for none."""
    of = ranking.columns[column]
    if of.low is None or not ranking.facts.metric(column):
        return [""] * len(of.value)
    return [
        f"[{write(a)}, {write(b)}]" if ends else write((b - a) / 2)
        for a, b, ends in zip(*_ends(of), uneven(of), strict=True)
    ]


def _ends(of: Estimate) -> tuple[list[float], list[float]]:
    assert of.low is not None
    assert of.high is not None
    return list(of.low), list(of.high)


def _span(low: float, high: float) -> str:
    if low != low:
        return ""
    return f"{low:.0f}" if low == high else f"{low:.0f}-{high:.0f}"


def _number(ranking: RankingResult, column: str) -> Write:
    """How a number of a column is written."""
    if column in ("front_one", "wins"):
        return fixed(0, percent=True)
    if column.startswith("rank"):
        return fixed(2)
    values, name = ("fid_5", "fid") if column == "ideal_5" else (column, column)  # with the measured FID
    metric = ranking.facts.metric(name)
    return fixed(declared.decimals(ranking.value(values), metric.digits if metric else 4))
