"""Tables in every format: text, Markdown, LaTeX (booktabs), CSV and JSON, all from the same frames."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from analysis.tables import layout, markup
from analysis.tables.layout import Screen
from analysis.tables.table import Table, jsonable
from flowbench._core.command import Parser
from flowbench._core.errors import UserError, nearest
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

FORMATS = ("table", "md", "latex", "csv", "json")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""


def add_format(made: Parser) -> None:
    """Add ``--format`` to a command's options."""

    def known(text: str) -> str:
        if text not in FORMATS:
            raise argparse.ArgumentTypeError(f"unknown format {text!r}; {nearest(text, FORMATS)}")
        return text

    made.add_argument(
        "--format", type=known, default="table", metavar="|".join(FORMATS), help="default: table"
    )


def check_format(format: str) -> None:
    """Raise `UserError` for an unknown format."""
    if format not in FORMATS:
        raise UserError(f"unknown format {format!r}; {nearest(format, FORMATS)}")


def show(tables: Sequence[Table], format: str = "table") -> None:
    """Print the tables on standard output, as wide as its terminal; a line on standard error names what a format leaves out.

    Raises `UserError` for an unknown format.
    """
    print(write(tables, format, Screen.of(sys.stdout)), flush=True)
    if format == "csv" and len(tables) > 1:
        left = f"csv holds the first of {len(tables)} tables, {tables[0].name}; --format json has all"
        print(left, file=sys.stderr)


def write(tables: Sequence[Table], format: str = "table", screen: Screen | None = None) -> str:
    """The tables one after the other. Raises `UserError` for an unknown format.

    ``csv`` is the first frame alone and ``json`` all of them with their `about`, both at full precision;
    the others are rounded, print the best of a column bold where the format has bold, and mark what is not
    separable from it. Only ``table`` depends on the ``screen``, by default a file.
    """
    check_format(format)
    if format == "csv":
        return csv(tables[0].frame).rstrip("\n")
    if format == "json":
        whole: dict[str, Any] = {}
        for table in tables:
            whole |= {table.name: table.frame.to_dict("records"), **table.about}
        return json.dumps(jsonable(whole), indent=2, allow_nan=False)
    if format == "table":
        return "\n\n".join(layout.text(table, screen or Screen()) for table in tables)
    writer = {"md": markup.markdown, "latex": markup.latex}[format]
    return "\n\n".join(writer(table) for table in tables)


def csv(frame: pd.DataFrame) -> str:
    """A frame as CSV at full precision. A text that a spreadsheet would take for a formula gets an apostrophe before it, by
    which spreadsheets know a text; numbers stay numbers."""
    texts = [c for c in frame if not pd.api.types.is_numeric_dtype(frame[c])]
    safe = frame.assign(**{str(c): frame[c].map(_inert) for c in texts})
    return str(safe.rename(columns=_inert).to_csv(index=False))


def _inert(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
