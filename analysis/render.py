"""A ranking as text: terminal table, Markdown, LaTeX, CSV or JSON, all from the one frame of
`analysis.rank.rank`."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from samplers.errors import UserError, nearest
from samplers.lazy import lazy

from . import schema, yardsticks
from .notes import HEADINGS, lost, notes

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

FORMATS = ("table", "md", "latex", "csv", "json")
SIGNIFICANT = {"kid": 3, "composition": 3}
OPTIONAL = ("by val loss", "by FID", "by CLIP", "composition", "KID")
"""Columns that a narrow terminal goes without, in this order."""


def render(ranking: pd.DataFrame, format: str = "table", *, colour: bool = False) -> str:
    """``ranking`` in one of `FORMATS`, with what was measured and the smallest separable gap under it.

    ``csv`` is the bare frame and ``json`` the frame with its notes, both at full precision; the others are
    rounded, mark formulations that lack entries with ``*``, print the best of each column bold where the
    format has bold (a mean over fewer settings is never best), and show real images and shuffled captions as
    rows of their own. ``colour``: for a terminal. Raises `UserError` for an unknown format.
    """
    if format not in FORMATS:
        raise UserError(f"unknown format {format!r}; {nearest(format, FORMATS)}")
    if format == "csv":
        return ranking.to_csv(index=False).rstrip("\n")
    if format == "json":
        return _json(ranking)
    cells, best = _cells(ranking)
    writers: dict[str, Callable[[pd.DataFrame, pd.DataFrame, list[str]], str]] = {
        "md": _markdown,
        "latex": _latex,
    }
    writer = writers.get(format) or (_terminal if colour else _plain)
    return writer(cells, best, notes(ranking))


def _shown(ranking: pd.DataFrame) -> list[str]:
    groups = [c for c in ranking.columns if c.startswith("rank[")]
    order = [*list(HEADINGS)[:3], *groups, *list(HEADINGS)[3:]]
    return [c for c in order if c in ranking and ranking[c].notna().any()]


def _cells(ranking: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The frame as text with headings, and which of its cells are the best of their column."""
    incomplete, best = lost(ranking), dict[str, list[bool]]()
    text: dict[str, list[str]] = {}
    text["formulation"] = list(ranking["formulation"] + np.where(incomplete, " *", ""))
    rows = yardsticks.rows(ranking)
    for column in _shown(ranking):
        values = [*ranking[column], *(row.get(column) for row in rows)]
        digits = 2 if column.startswith("rank") else _digits(ranking[column], SIGNIFICANT.get(column, 4))
        written = ["" if v is None else f"{v:.{digits}f}" if math.isfinite(v) else "-" for v in values]
        heading = HEADINGS.get(column, column.removeprefix("rank[").removesuffix("]"))
        text[heading] = written[: len(ranking)]
        for row, value in zip(rows, written[len(ranking) :], strict=True):
            row[heading] = value
        fair = ranking[column] if column.startswith("rank") else ranking[column].where(~incomplete)
        top = fair.max() if schema.HIGHER_IS_BETTER.get(column, False) else fair.min()
        best[heading] = [bool(v == top) for v in fair]
    if incomplete.any():
        text["lost"] = [
            ", ".join(f"{row[s]} {s}" for s in ("diverged", "failed", "missing") if row[s]) or "-"
            for _, row in ranking.iterrows()
        ]
    cells = pd.DataFrame(text)
    extra = pd.DataFrame([{c: row.get(c, "") for c in cells.columns} for row in rows], columns=cells.columns)
    marks = pd.DataFrame(best, index=cells.index).reindex(columns=cells.columns, fill_value=False)
    return pd.concat([cells, extra], ignore_index=True), marks


def _digits(values: pd.Series[Any], significant: int) -> int:
    """Decimals that give the median value that many digits, from 2 to 6."""
    middle = float(values.abs().median())
    return (
        2
        if not math.isfinite(middle) or middle == 0
        else min(6, max(2, significant - 1 - math.floor(math.log10(middle))))
    )


def _plain(cells: pd.DataFrame, best: pd.DataFrame, lines: list[str]) -> str:
    """Columns padded with spaces, never wrapped or cut, for files and pipes."""
    widths = [max(map(len, [column, *cells[column]])) for column in cells]
    rule, body = ["-" * width for width in widths], cells.to_numpy().tolist()
    rows = [list(cells.columns), rule, *body[: len(best)]]
    if len(body) > len(best):
        rows += [rule, *body[len(best) :]]

    def line(row: list[str]) -> str:
        padded = [
            c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(padded).rstrip()

    return "\n".join([*map(line, rows), "", *lines])


def _terminal(cells: pd.DataFrame, best: pd.DataFrame, lines: list[str]) -> str:
    """The same with rich, best values bold; where the terminal is too narrow, without the `OPTIONAL`
    columns."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=io.StringIO(), force_terminal=True)
    gone = []
    for column in OPTIONAL:
        if column in cells and _width(cells) > console.width:
            cells, best = cells.drop(columns=column), best.drop(columns=column)
            gone.append(column)
    if gone:
        lines = [*lines, f"left out for want of width: {', '.join(gone)} (--format md shows them)"]
    console.width = max(console.width, _width(cells))
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for column in map(str, cells.columns):
        table.add_column(Text(column), justify="left" if column == "formulation" else "right", no_wrap=True)
    for i, row in enumerate(cells.to_numpy().tolist()):
        real = i >= len(best)
        styles = ["dim" if real else "bold" if best.iat[i, j] else "" for j in range(len(row))]
        table.add_row(*(Text(text, style=style) for text, style in zip(row, styles, strict=True)))
    with console.capture() as captured:
        console.print(table)
        console.print(Text("\n" + "\n".join(lines)), style="dim")
    return captured.get().rstrip("\n")


def _width(cells: pd.DataFrame) -> int:
    return sum(max(map(len, [column, *cells[column]])) + 2 for column in cells) - 2


def _markdown(cells: pd.DataFrame, best: pd.DataFrame, lines: list[str]) -> str:
    marked = _marked(cells, best, "**{}**", lambda text: re.sub(r"([\\|*_<>\[\]`])", r"\\\1", text))
    align = ["left" if column == "formulation" else "right" for column in cells]
    body = marked.to_markdown(index=False, disable_numparse=True, colalign=align)
    return "\n".join([body, "", *(f"- `{line}`" for line in lines)])


def _latex(cells: pd.DataFrame, best: pd.DataFrame, lines: list[str]) -> str:
    marked = _marked(cells, best, r"\textbf{{{}}}", _latex_escape)
    marked.columns = pd.Index([_latex_escape(column) for column in cells.columns])
    body = marked.to_latex(index=False, escape=False, column_format="l" + "r" * (len(cells.columns) - 1))
    # Paragraphs under the table, so that it can be put into any environment.
    return "\n".join(
        [body.rstrip("\n"), *(rf"\par{{\footnotesize {_latex_escape(line)}}}" for line in lines)]
    )


def _marked(cells: pd.DataFrame, best: pd.DataFrame, bold: str, escape: Callable[[str], str]) -> pd.DataFrame:
    out = cells.map(escape)
    for i, j in zip(*np.nonzero(best.to_numpy(dtype=bool)), strict=True):
        out.iat[int(i), int(j)] = bold.format(out.iat[int(i), int(j)])
    return out


def _latex_escape(text: str) -> str:
    table = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    table |= {c: "\\" + c for c in "&%$#_{}"}
    return "".join(table.get(c, c) for c in text)


def _json(ranking: pd.DataFrame) -> str:
    whole = {"ranking": ranking.to_dict("records"), "notes": ranking.attrs}
    return json.dumps(_jsonable(whole), indent=2, allow_nan=False)


def _jsonable(value: Any) -> Any:
    """``value`` with NaN and infinities as null, which JSON lacks, and numpy numbers as Python's."""
    if isinstance(value, dict):
        return {k: _jsonable(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_jsonable(v) for v in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value.item() if hasattr(value, "item") else value
