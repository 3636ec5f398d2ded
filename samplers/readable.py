"""Text for a stream whose encoding lacks some of its characters: replaced by what can be read, never an exception."""

from __future__ import annotations

import codecs
import sys
from typing import TextIO

ERRORS = "readable"
"""The name under which `encode` and `TextIO.reconfigure` know the replacement."""
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


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    escaped = (ASCII.get(c) or c.encode("ascii", "backslashreplace").decode() for c in part)
    return "".join(escaped), error.end


codecs.register_error(ERRORS, _replace)
