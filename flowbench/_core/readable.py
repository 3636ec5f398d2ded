"""Text that can be read anywhere: characters that an encoding lacks are replaced, and lines are broken between words."""

from __future__ import annotations

import codecs
import re
import sys
from typing import TextIO

ERRORS = "readable"
"""The name of the replacement, for `encode` and `TextIO.reconfigure`."""
ASCII = {
    "±": "+-",
    "×": "x",
    "·": ".",
    "…": "...",
    "–": "-",
    "—": "-",
    "−": "-",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "→": "->",
    "≤": "<=",
    "≥": ">=",
    "\N{NO-BREAK SPACE}": " ",
}
"""Characters with a customary spelling; all others become escapes such as ``\\u6d41``, which keep two names apart."""


def readable(text: str, encoding: str) -> str:
    """``text`` as it can be written in an encoding."""
    return text.encode(encoding, ERRORS).decode(encoding)


def forgiving(stream: TextIO) -> None:
    """Let a stream replace what its encoding lacks."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors=ERRORS)


def standard_streams() -> None:
    """Let standard output and error replace what their encodings lack."""
    forgiving(sys.stdout)
    forgiving(sys.stderr)


def width(text: str) -> int:
    """Columns that a text takes on a terminal; those of East Asia take two for a letter."""
    from rich.cells import cell_len

    return cell_len(text)


def wrapped(text: str, room: int, indent: str = "  ", marks: str = ",;/[(") -> list[str]:
    """A text as lines that have room, broken between words, all but the first with an indent; only a word that is too long
    by itself is broken, after one of the marks within it."""
    lines = [""]
    for word in text.split(" "):
        parts = (
            re.findall(f"[^{re.escape(marks)}]+.?|.", word)
            if width(indent + word) > room and marks
            else [word]
        )
        for i, part in enumerate(parts):
            gap = " " if i == 0 and lines[-1].strip() else ""
            if lines[-1].strip() and width(lines[-1] + gap + part) > room:
                lines.append(indent + part)
            else:
                lines[-1] += gap + part
    return [line.rstrip() for line in lines]


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    escaped = (ASCII.get(c) or c.encode("ascii", "backslashreplace").decode() for c in part)
    return "".join(escaped), error.end


codecs.register_error(ERRORS, _replace)
