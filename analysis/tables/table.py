"""A table to be shown: exact values, what is shown of them, and marks; `tables.output` writes it in every format."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

TIED = "~"
"""Marks, in text, what is not separable from the best of its column."""
LACKING = "*"
"""Marks, in text, a mean over less than that of others."""


@dataclass(frozen=True, eq=False)
class Table:
    """``frame`` holds exact values; ``cells`` what is shown of them, as text under headings, with rows of references
    (real images) after the ``len(best)`` rows proper; ``keys`` names the columns of ``cells``, by their columns of the frame
    where they have one. ``best``, ``tied``, ``lacking`` and ``margins``, made text by :func:`margin`, have
    the columns of ``cells``. ``optional`` columns are left out, in this order, where a terminal is too narrow; ``about`` is
    what JSON has besides the rows."""

    name: str
    frame: pd.DataFrame
    cells: pd.DataFrame
    best: pd.DataFrame
    tied: pd.DataFrame
    lacking: pd.DataFrame
    notes: Sequence[str] = ()
    optional: Sequence[str] = ()
    title: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)
    keys: Sequence[str] = ()
    margins: pd.DataFrame = field(default_factory=lambda: pd.DataFrame())

    def texts(self) -> pd.DataFrame:
        """The cells with their margins, as they stand in a line of text."""
        margins = self.margins.reindex(index=self.cells.index, columns=self.cells.columns, fill_value="")
        return self.cells + margins.map(margin)


def unmarked(name: str, frame: pd.DataFrame, cells: pd.DataFrame, **about: Any) -> Table:
    """A table without marks; ``about`` are further fields of it."""
    none = pd.DataFrame(False, index=cells.index, columns=cells.columns)
    return Table(name, frame, cells, none, none, none, **about)


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
    return unmarked(name, frame, cells, notes=notes, optional=optional, title=title)


def margin(text: str) -> str:
    """What stands behind a number for its margin: ``±`` and half of an interval, or both ends in brackets; nothing for
    none."""
    return "" if not text else f" {text}" if text.startswith("[") else f" ±{text}"


def fixed(digits: int, percent: bool = False) -> Callable[[Any], str]:
    """How a number is written with a fixed number of decimals; nothing for NaN and None, ``-`` for infinity."""

    def write(value: Any) -> str:
        if value is None or value != value:
            return ""
        if not math.isfinite(value):
            return "-"
        return f"{100 * value:.{digits}f} %" if percent else f"{value:.{digits}f}"

    return write


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
