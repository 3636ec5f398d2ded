"""How a status is put into lines: readable on 80 columns, on a terminal and in a file. No torch.

Widths are those of a terminal, where a letter of East Asia takes two columns.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.cells import cell_len

from bench.config.experiment import Cell, Grid
from bench.planning.plan import Plan, Planned
from flowbench._core import readable


def block(
    word: str, cells: Sequence[Planned], why: str, planned: Plan, story: Iterable[str], files: Iterable[Path]
) -> list[str]:
    """A paragraph about cells with the same fate."""
    reason = textwrap.shorten(why, 400, placeholder=" ...")
    lines = wrapped(f"{many(len(cells), 'cell')} {word}" + f": {reason}" * bool(reason))
    lines += [f"  {names(cells, planned, width() - 2)}"]
    told = textwrap.dedent("\n".join(story)).splitlines()
    return lines + [cropped(f"  | {line}") for line in told] + [f"  {short(file)}" for file in files]


def names(cells: Sequence[Planned], planned: Plan, room: int) -> str:
    """As many names as fit, ``and 212 more``."""
    told = ""
    for i, p in enumerate(cells):
        name = label(p.cell, planned.grid)
        more = f" and {len(cells) - i} more"
        if told and cell_len(told + name + more) + 2 > room:
            return told + more
        told += f", {name}" if told else name
    return told


def label(cell: Cell, grid: Grid) -> str:
    """A cell by all in which it differs from others of its grid: ``rf digits seed 2 depth 3 600 steps``."""
    several = len(grid.datasets) > 1, grid.seeds > 1 or grid.first_seed > 0
    found = [cell.dataset] * several[0] + [f"seed {cell.seed}"] * several[1]
    return " ".join([cell.formulation, *found, *size_of(cell, grid)])


def place(cell: Cell, grid: Grid) -> str:
    """Where a cell stands in its grid, but for its formulation: ``shapes, seed 0``, and its size if there are several."""
    return ", ".join([cell.dataset, f"seed {cell.seed}", *size_of(cell, grid)])


def size_of(cell: Cell, grid: Grid) -> list[str]:
    """A cell's depth and steps, each if its grid has several."""
    found = [f"depth {cell.model.depth}"] * bool(grid.depths)
    return found + [f"{cell.training.steps} steps"] * bool(grid.budgets)


def many(count: int, what: str) -> str:
    """``1 cell``, ``2 cells``."""
    return f"{count} {what}" + "s" * (count != 1)


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows with their columns below each other; columns that are empty everywhere are left out.

    The last cell of a row that is too long stands on a line of its own.
    """
    columns = [column for column in zip(*rows, strict=True) if any(column)]
    wide = [max(map(cell_len, column)) for column in columns]
    lines: list[str] = []
    for row in zip(*columns, strict=True):
        padded = [cell + " " * (room - cell_len(cell)) for cell, room in zip(row, wide, strict=True)]
        whole = f"  {'  '.join(padded).rstrip()}"
        parts = [f"  {'  '.join(padded[:-1]).rstrip()}", f"    {row[-1]}"]
        lines += [whole] if cell_len(whole) <= width() else map(cropped, parts)
    return lines


def width() -> int:
    """Of the terminal; 80 where there is none."""
    return max(60, min(120, shutil.get_terminal_size().columns))


def cropped(line: str) -> str:
    """A line that fits, shortened between words; a single word stays whole."""
    if cell_len(line) <= width():
        return line
    words, room = line.rstrip().split(" "), width() - len(" ...")
    while len(words) > 1 and cell_len(" ".join(words)) > room:
        words.pop()
    kept = " ".join(words).rstrip()
    return f"{kept} ..." if kept.strip() else line


def wrapped(text: str) -> list[str]:
    """A sentence over several lines; paths and options stay whole."""
    return readable.wrapped(text, width(), marks="") if text else []


def fitted(sentence: str) -> str:
    """A sentence as it is printed: on a terminal broken between words, where a command stays in one piece, to be copied."""
    if not sys.stdout.isatty():
        return sentence
    whole = re.sub(r"`[^`]+`", lambda command: command[0].replace(" ", "\N{NO-BREAK SPACE}"), sentence)
    lines = readable.wrapped(whole, shutil.get_terminal_size().columns, indent="", marks="")
    return "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")


def short(file: Path) -> str:
    """A path as short as it can be typed from here, in a shell."""
    try:
        return shlex.quote(str(file.relative_to(os.getcwd())))
    except ValueError:
        return shlex.quote(str(file))
