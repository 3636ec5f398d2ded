"""A ranking, and what belongs to it, as tables (`analysis.tables.table`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.ranking.confirm import Confirmation
from analysis.ranking.notes import headings, lost, notes, uneven
from analysis.results import declared, yardsticks
from analysis.tables.table import LACKING, Table, fixed, jsonable, simple
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

LAST = ("val_loss", "rank_50", "rank_5", "fid", "clip", "position")
"""Columns that a narrow terminal goes without after all others, in this order."""
ALWAYS = ("rank_all", "ideal_5")
LOST = "lost"


def ranking_table(ranking: pd.DataFrame, shown: Sequence[str] | None = None) -> Table:
    """The ranking with what was measured and what could be told apart under it; ``shown`` names the formulations to show.

    Formulations that lack entries are marked ``*``, and so is a mean over less than that of others. Marks are those of the
    whole ranking (`_compared`), whichever rows are shown. Real images and shuffled captions are rows of their own.
    """
    rows, titles = yardsticks.rows(ranking), headings(ranking.attrs)  # type: ignore[arg-type]
    kept = ranking["formulation"].isin(ranking["formulation"] if shown is None else shown)
    incomplete = lost(ranking)
    text: dict[str, list[str]] = {
        "formulation": list(ranking["formulation"] + np.where(incomplete, f" {LACKING}", ""))
    }
    keys = {"formulation": "formulation"}
    margins: dict[str, list[str]] = {}
    best: dict[str, pd.Series[bool]] = {}
    tied: dict[str, pd.Series[bool]] = {}
    lacking: dict[str, pd.Series[bool]] = {}
    for column in _shown(ranking):
        heading = titles.get(column, column.removeprefix("rank[").removesuffix("]"))
        keys[heading] = column
        text[heading], margins[heading] = _written(ranking, column), _margins(ranking, column)
        for row in rows:
            row[heading] = _number(ranking, column)(row[column]) if column in row else ""
        best[heading], tied[heading] = _compared(ranking, column)
        lacking[heading] = _lacking(ranking, column) & ranking[column].notna()
    if incomplete[kept].any():
        keys[LOST] = LOST
        text[LOST] = [
            ", ".join(f"{row[s]} {s}" for s in ("diverged", "failed", "missing") if row[s]) or "-"
            for _, row in ranking.iterrows()
        ]
    cells = pd.DataFrame(text)
    extra = pd.DataFrame([{c: row.get(c, "") for c in cells.columns} for row in rows], columns=cells.columns)
    return Table(
        "ranking",
        ranking[kept],
        pd.concat([cells[kept], extra], ignore_index=True),
        best=_marks(best, cells)[kept],
        tied=_marks(tied, cells)[kept],
        lacking=_marks(lacking, cells)[kept],
        notes=notes(ranking, kept),
        optional=_optional(titles),
        about={"notes": jsonable(dict(ranking.attrs))},
        keys=tuple(keys.values()),
        margins=pd.DataFrame(margins, index=cells.index).reindex(columns=cells.columns, fill_value="")[kept],
    )


def _optional(titles: Mapping[str, str]) -> tuple[str, ...]:
    """The headings that a narrow terminal goes without, the first first: from the right."""
    others = [title for column, title in titles.items() if column not in (*LAST, *ALWAYS)]
    return (*reversed(others), LOST, *(titles[column] for column in LAST if column in titles))


def _compared(ranking: pd.DataFrame, column: str) -> tuple[pd.Series[bool], pd.Series[bool]]:
    """Which values of a column are its best, and which cannot be told from the best.

    There is a best only where something is told from it: in a column in which all are tied, or which was not compared (with
    one seed, say), none is better than the others. A mean over less than that of others is never the best.
    """
    none = pd.Series(False, index=ranking.index)
    name = f"{'rank' if column == 'rank_all' else column}_tied"
    if name not in ranking:
        return none, none
    tied = ranking[name].fillna(False).astype(bool)
    if not (ranking[name].notna() & ~tied).any():
        return none, tied
    fair = ranking[column].where(~_lacking(ranking, column))
    metric = declared.of(ranking).get(column)
    top = fair.max() if metric and metric.higher_is_better else fair.min()
    best = tied & (fair == top)
    return best, tied & ~best


def _lacking(ranking: pd.DataFrame, column: str) -> pd.Series[bool]:
    """Which means of a column are over less than others."""
    name = f"{column}_lacking"
    return ranking[name] > 0 if name in ranking else pd.Series(False, index=ranking.index)


def confirmation_table(found: Confirmation) -> Table:
    """The chosen formulations on the seeds that chose them and on fresh ones."""
    columns: dict[str, tuple[str, Callable[[Any], str]]] = {"formulation": ("formulation", str)}
    titles = headings(found.fresh.attrs)  # type: ignore[arg-type]
    for metric in ("rank_all", *(m for m in declared.COMPARED if m in found.fresh)):
        write = fixed(2 if metric == "rank_all" else _digits(found.fresh, metric))
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


def _shown(ranking: pd.DataFrame) -> list[str]:
    groups = [c for c in ranking.columns if c.startswith("rank[")]
    columns = list(headings(ranking.attrs))  # type: ignore[arg-type]
    at = columns.index("rank_50") + 1
    order = [*columns[:at], *groups, *columns[at:]]
    shown = [c for c in order if c in ranking and ranking[c].notna().any()]
    return [c for c in shown if c != "position" or ranking["position_low"].notna().any()]


def _written(ranking: pd.DataFrame, column: str) -> list[str]:
    """A column as text, a place as its interval."""
    number = _number(ranking, column)
    values: Sequence[Any] = list(ranking[column])
    if column == "position":
        ends = zip(ranking["position_low"], ranking["position_high"], strict=True)
        return [_span(low, high) for low, high in ends]
    written = [number(v) for v in values]
    if column == "ideal_5":
        whole = [number(v) for v in ranking["fid_5"]]
        return [f"{part} of {fid}" if part else "" for part, fid in zip(written, whole, strict=True)]
    return written


def _margins(ranking: pd.DataFrame, column: str) -> list[str]:
    """The interval of each mean of a column: half of it, or both ends where it is uneven; empty for none."""
    if column not in declared.of(ranking) or f"{column}_low" not in ranking:
        return [""] * len(ranking)
    low, high, write = ranking[f"{column}_low"], ranking[f"{column}_high"], fixed(_digits(ranking, column))
    return [
        f"[{write(a)}, {write(b)}]" if ends else write((b - a) / 2)
        for a, b, ends in zip(low, high, uneven(ranking, column), strict=True)
    ]


def _span(low: float, high: float) -> str:
    if low != low:
        return ""
    return f"{low:.0f}" if low == high else f"{low:.0f}-{high:.0f}"


def _number(ranking: pd.DataFrame, column: str) -> Any:
    if column in ("front_one", "wins"):
        return fixed(0, percent=True)
    return fixed(2 if column.startswith("rank") else _digits(ranking, column))


def _digits(ranking: pd.DataFrame, column: str) -> int:
    if column == "ideal_5":  # written beside the measured FID
        return declared.decimals(ranking["fid_5"], declared.of(ranking)["fid"].digits)
    metric = declared.of(ranking).get(column)
    return declared.decimals(ranking[column], metric.digits if metric else 4)


def _marks(found: dict[str, pd.Series[bool]], cells: pd.DataFrame) -> pd.DataFrame:
    return (
        pd.DataFrame(found, index=cells.index).reindex(columns=cells.columns, fill_value=False).astype(bool)
    )
