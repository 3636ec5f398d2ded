"""Lines that are readable on 80 columns, on a terminal and in a file. No torch.

Widths are those of a terminal, where a letter of East Asia takes two columns.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.cells import cell_len

from flowbench._core import readable


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


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown; the first column is aligned to the left, all others, of numbers, to the right."""
    lines = [f"| {' | '.join(row)} |" for row in (header, *rows)]
    return [lines[0], "|:--|" + "--:|" * (len(header) - 1), *lines[1:]]


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
