"""One table in every format: terminal, plain text, Markdown, LaTeX (booktabs), CSV and JSON, all from one frame."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from samplers.errors import UserError, nearest
from samplers.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

FORMATS = ("table", "md", "latex", "csv", "json")
TIED = "~"
"""Marks, in text, what cannot be told from the best of its column."""


@dataclass(frozen=True, eq=False)
class Table:
    """``frame`` holds exact values; ``cells`` what is shown of them, as text under headings, with rows of references
    (real images) after the ``len(best)`` rows proper. ``best`` and ``tied`` have the columns of ``cells``.
    ``optional`` columns are left out, in this order, where a terminal is too narrow; ``about`` is what JSON tells
    beside the rows."""

    name: str
    frame: pd.DataFrame
    cells: pd.DataFrame
    best: pd.DataFrame
    tied: pd.DataFrame
    notes: Sequence[str] = ()
    optional: Sequence[str] = ()
    title: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)


def check_format(format: str) -> None:
    """Raise `UserError` for an unknown format."""
    if format not in FORMATS:
        raise UserError(f"unknown format {format!r}; {nearest(format, FORMATS)}")


def simple(
    name: str,
    frame: pd.DataFrame,
    columns: Mapping[str, tuple[str, Callable[[Any], str]]],
    notes: Sequence[str] = (),
    title: str = "",
    optional: Sequence[str] = (),
) -> Table:
    """A table without marks: ``columns`` maps those of ``frame`` to a heading and how a value is written."""
    shown = {c: heading for c, (heading, _) in columns.items() if c in frame}
    cells = pd.DataFrame(
        {heading: [columns[c][1](v) for v in frame[c]] for c, heading in shown.items()}, dtype=object
    )
    none = pd.DataFrame(False, index=cells.index, columns=cells.columns)
    return Table(name, frame, cells, none, none, notes, optional, title)


def fixed(digits: int, percent: bool = False) -> Callable[[Any], str]:
    """How a number is written with a fixed number of decimals; nothing for NaN and None, ``-`` for infinity."""

    def write(value: Any) -> str:
        if value is None or value != value:
            return ""
        if not math.isfinite(value):
            return "-"
        return f"{100 * value:.{digits}f} %" if percent else f"{value:.{digits}f}"

    return write


def write(tables: Sequence[Table], format: str = "table", *, colour: bool = False) -> str:
    """The tables one after the other; ``colour``: for a terminal. Raises `UserError` for an unknown format.

    ``csv`` is the first frame alone and ``json`` all of them with what is told beside them, both at full precision;
    the others are rounded, print the best of a column bold where the format has bold, and mark what cannot be told
    from it.
    """
    check_format(format)
    if format == "csv":
        return tables[0].frame.to_csv(index=False).rstrip("\n")
    if format == "json":
        whole: dict[str, Any] = {}
        for table in tables:
            whole |= {table.name: table.frame.to_dict("records"), **table.about}
        return json.dumps(jsonable(whole), indent=2, allow_nan=False)
    writers = {"md": _markdown, "latex": _latex}
    writer = writers.get(format) or (_terminal if colour else _plain)
    return "\n\n".join(writer(table) for table in tables)


def _plain(table: Table) -> str:
    """Columns padded with spaces, never wrapped or cut, for files and pipes."""
    cells, count = _suffixed(table), len(table.best)
    widths = [max(map(len, [str(column), *cells[column]])) for column in cells]
    rule, body = ["-" * width for width in widths], cells.to_numpy().tolist()
    rows = [[str(c) for c in cells.columns], rule, *body[:count]]
    if len(body) > count:
        rows += [rule, *body[count:]]

    def line(row: list[str]) -> str:
        padded = [
            c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(padded).rstrip()

    head = [table.title, ""] if table.title else []
    return "\n".join([*head, *map(line, rows), *([""] if table.notes else []), *table.notes])


def _suffixed(table: Table) -> pd.DataFrame:
    """The cells with marks behind numbers, and a blank in the other rows of a column that has any."""
    cells = table.cells.copy()
    for j, column in enumerate(cells.columns):
        marks = table.tied[column].to_numpy(dtype=bool)
        if marks.any():
            all_marks = np.zeros(len(cells), dtype=bool)
            all_marks[: len(marks)] = marks
            cells.isetitem(
                j, [c + (TIED if m else " ") for c, m in zip(cells[column], all_marks, strict=True)]
            )
    return cells


def _terminal(table: Table) -> str:
    """The same with rich, best values bold; where the terminal is too narrow, without the optional columns."""
    from rich.console import Console
    from rich.table import Table as Rich
    from rich.text import Text

    console = Console(file=io.StringIO(), force_terminal=True)
    cells, best, gone = _suffixed(table), table.best, []
    for column in table.optional:
        if column in cells and _width(cells) > console.width:
            cells, best = cells.drop(columns=column), best.drop(columns=column)
            gone.append(column)
    notes = list(table.notes)
    if gone:
        notes.append(f"left out for want of width: {', '.join(gone)} (--format md shows them)")
    console.width = max(console.width, _width(cells))
    made = Rich(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for i, column in enumerate(map(str, cells.columns)):
        made.add_column(Text(column), justify="left" if i == 0 else "right", no_wrap=True)
    for i, row in enumerate(cells.to_numpy().tolist()):
        real = i >= len(best)
        styles = ["dim" if real else "bold" if best.iat[i, j] else "" for j in range(len(row))]
        made.add_row(*(Text(text, style=style) for text, style in zip(row, styles, strict=True)))
    with console.capture() as captured:
        if table.title:
            console.print(Text(table.title + "\n", style="bold"))
        console.print(made)
        if notes:
            console.print(Text("\n" + "\n".join(notes)), style="dim")
    return captured.get().rstrip("\n")


def _width(cells: pd.DataFrame) -> int:
    return sum(max(map(len, [str(column), *cells[column]])) + 2 for column in cells) - 2


def _markdown(table: Table) -> str:
    marked = _marked(table, "**{}**", TIED, lambda text: re.sub(r"([\\|*_<>\[\]`])", r"\\\1", text))
    align = ["left" if i == 0 else "right" for i in range(marked.shape[1])]
    body = marked.to_markdown(index=False, disable_numparse=True, colalign=align)
    head = [f"**{table.title}**", ""] if table.title else []
    return "\n".join([*head, body, *([""] if table.notes else []), *(f"- `{line}`" for line in table.notes)])


def _latex(table: Table) -> str:
    marked = _marked(table, r"\textbf{{{}}}", r"$^{\sim}$", latex_escape)
    marked.columns = pd.Index([latex_escape(str(column)) for column in table.cells.columns])
    body = marked.to_latex(index=False, escape=False, column_format="l" + "r" * (marked.shape[1] - 1))
    # Paragraphs beside the table, so that it can be put into any environment.
    head = [rf"\par{{\bfseries {latex_escape(table.title)}}}"] if table.title else []
    notes = [rf"\par{{\footnotesize {latex_escape(line)}}}" for line in table.notes]
    return "\n".join([*head, body.rstrip("\n"), *notes])


def _marked(table: Table, bold: str, tied: str, escape: Callable[[str], str]) -> pd.DataFrame:
    out = table.cells.map(escape)
    for marks, form in ((table.best, bold), (table.tied, "{}" + tied.replace("{", "{{").replace("}", "}}"))):
        for i, j in zip(*np.nonzero(marks.to_numpy(dtype=bool)), strict=True):
            out.iat[int(i), int(j)] = form.format(out.iat[int(i), int(j)])
    return out


def latex_escape(text: str) -> str:
    """Text for LaTeX."""
    table = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    table |= {c: "\\" + c for c in "&%$#_{}"}
    return "".join(table.get(c, c) for c in text)


def jsonable(value: Any) -> Any:
    """``value`` with NaN and infinities as null, which JSON lacks, and numpy's numbers as Python's."""
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(v) for v in value]
    if value is None or value is pd.NA:
        return None
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return jsonable(value.item()) if hasattr(value, "item") else value
