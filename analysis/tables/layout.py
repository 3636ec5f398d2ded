"""A table as text: in columns that are never cut, or, where a screen is too narrow for them, one entry below the other."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from analysis.tables.table import LACKING, TIED, Table
from flowbench._core.readable import readable

if TYPE_CHECKING:
    import pandas as pd

GAP = 2
"""Blanks between two columns."""
STYLES = {"": "", "bold": "\x1b[1m", "dim": "\x1b[2m"}
PLAIN_TERMINALS = ("", "dumb", "unknown")
"""Values of ``TERM`` of terminals without bold and dim letters."""


@dataclass(frozen=True)
class Screen:
    """Where text is shown: ``width`` in columns, None where lines may have any length (files, pipes); ``styled``: best
    values are bold; characters that the ``encoding`` lacks are replaced (`flowbench._core.readable`)."""

    width: int | None = None
    styled: bool = False
    encoding: str = "utf-8"

    @classmethod
    def of(cls, stream: TextIO) -> Screen:
        """That of a stream."""
        encoding = stream.encoding or "utf-8"
        if not stream.isatty():
            return cls(encoding=encoding)
        styled = os.environ.get("TERM", "") not in PLAIN_TERMINALS
        return cls(max(1, shutil.get_terminal_size().columns), styled, encoding)


def text(table: Table, screen: Screen) -> str:
    """The table with its title and notes.

    Where it is too wide for the screen, optional columns are left out one after the other, and a note names them; with them
    go references that have no other entries. If that is not enough, every row becomes a paragraph with all of its entries.
    Notes are wrapped between words.
    """
    table = encoded(table, screen.encoding)
    whole = cells = suffixed(table)
    gone: list[str] = []
    for column in table.optional:
        if column in cells and not _fits(cells, screen):
            cells = _with_entries(cells.drop(columns=column), len(table.best))
            gone.append(column)
    notes = list(table.notes)
    if not _fits(cells, screen):
        lines = _paragraphs(whole, screen)
    else:
        lines = _columns(cells, table.best, screen)
        notes += [f"left out for want of width: {', '.join(gone)} (--format md shows them)"] * bool(gone)
    head = [*(styled(line, "bold", screen) for line in wrapped(table.title, screen.width)), ""]
    head = head if table.title else []
    below = [styled(line, "dim", screen) for note in notes for line in wrapped(note, screen.width)]
    return "\n".join([*head, *lines, *([""] if below else []), *below])


def encoded(table: Table, encoding: str) -> Table:
    """The table with every text as it can be written in an encoding."""

    def written(text: Any) -> str:
        return readable(str(text), encoding)

    return replace(
        table,
        cells=table.texts().rename(columns=written).map(written),
        margins=table.margins.iloc[:0],
        best=table.best.rename(columns=written),
        tied=table.tied.rename(columns=written),
        lacking=table.lacking.rename(columns=written),
        notes=[written(note) for note in table.notes],
        optional=[written(column) for column in table.optional],
        title=written(table.title),
    )


def suffixed(table: Table) -> pd.DataFrame:
    """The cells with marks behind them, and blanks in the other rows of a column that has any."""
    cells = table.texts().copy()
    for j, column in enumerate(cells.columns):
        pairs = zip(table.lacking[column], table.tied[column], strict=True)
        marks = [LACKING * bool(lacking) + TIED * bool(tied) for lacking, tied in pairs]
        marks += [""] * (len(cells) - len(marks))  # of the rows of references
        room = max(map(len, marks), default=0)
        cells.isetitem(j, [c + m.ljust(room) for c, m in zip(cells[column], marks, strict=True)])
    return cells


def width(text: str) -> int:
    """Columns that a text takes on a terminal; those of East Asia take two for a letter."""
    from rich.cells import cell_len

    return cell_len(text)


def wrapped(line: str, room: int | None) -> list[str]:
    """A line as several that have room, broken between words; only a word that is too long by itself is broken, after a
    mark within it."""
    if room is None or width(line) <= room:
        return [line]
    lines, current = [], ""
    for word in line.split(" "):
        for i, part in enumerate(_parts(word, room - GAP)):
            joined = f"{current} {part}" if current and i == 0 else current + part
            if current.strip() and width(joined) > room:
                lines.append(current)
                joined = " " * GAP + part
            current = joined
    return [*lines, current]


def styled(line: str, style: str, screen: Screen) -> str:
    """A line in a style, if the screen has styles."""
    return f"{STYLES[style]}{line}\x1b[0m" if screen.styled and style and line.strip() else line


def _parts(word: str, room: int) -> list[str]:
    """A word, or if it is too long what it is made of: names and numbers with the mark that ends them."""
    return [word] if width(word) <= room else re.findall(r"[^,;/\[(]*[,;/\[(]|[^,;/\[(]+", word)


def _fits(cells: pd.DataFrame, screen: Screen) -> bool:
    return screen.width is None or sum(_widths(cells)) + GAP * (cells.shape[1] - 1) <= screen.width


def _with_entries(cells: pd.DataFrame, rows: int) -> pd.DataFrame:
    """The first ``rows`` of the cells, and those of the others that have more than a name."""
    some = (cells.iloc[:, 1:].map(str.strip) != "").any(axis=1)
    return cells[some | (np.arange(len(cells)) < rows)]


def _widths(cells: pd.DataFrame) -> list[int]:
    return [max(map(width, [column, *cells[column]])) for column in cells]


def _columns(cells: pd.DataFrame, best: pd.DataFrame, screen: Screen) -> list[str]:
    """Columns padded with blanks, the first to the left and the others to the right."""
    widths, body = _widths(cells), cells.to_numpy().tolist()
    rule = (" " * GAP).join("-" * room for room in widths)

    def line(row: Sequence[str], styles: Sequence[str]) -> str:
        padded = []
        for i, (cell, style, room) in enumerate(zip(row, styles, widths, strict=True)):
            blanks, shown = " " * (room - width(cell)), styled(cell, style, screen)
            padded.append(shown + blanks if i == 0 else blanks + shown)
        return (" " * GAP).join(padded).rstrip()

    def plain(row: Sequence[str], style: str) -> str:
        return line(row, [style] * len(row))

    bold = [["bold" if b else "" for b in row] for row in best[list(cells.columns)].to_numpy(dtype=bool)]
    made = [plain(list(cells.columns), "bold"), rule]
    made += [line(row, styles) for row, styles in zip(body, bold, strict=False)]
    references = body[len(bold) :]
    return made + [rule] * bool(references) + [plain(row, "dim") for row in references]


def _paragraphs(cells: pd.DataFrame, screen: Screen) -> list[str]:
    """Every row as its name, which if it is no formulation's has its heading before it, and, below it, its entries that are
    not empty, each behind its heading."""
    names = list(cells.columns)
    room = max([width(name) for name in names[1:]], default=0)
    made = []
    for row in cells.to_numpy().tolist():
        name = row[0].rstrip() if names[0] == "formulation" else f"{names[0]} {row[0].rstrip()}"
        made.append(styled(name, "bold", screen))
        for name, cell in zip(names[1:], row[1:], strict=True):
            if cell.strip():
                line = f"{' ' * GAP}{name}{' ' * (room - width(name))}{' ' * GAP}{cell.rstrip()}"
                narrow = screen.width is not None and width(line) > screen.width
                made += [" " * GAP + name, " " * 2 * GAP + cell.rstrip()] if narrow else [line]
    return made
