"""The one error class for a user's mistakes, the one warning, and the nearest valid choice to name in it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from pathlib import Path


class UserError(ValueError):
    """A user's mistake in one sentence: what is wrong, where, and the nearest valid choice.

    Commands print it as ``error: <sentence>`` and exit with code 2; nothing is half-written when it is
    raised.
    """


class Notice(UserWarning):
    """A doubt that stops nothing; commands print it as ``warning: <sentence>``."""


def nearest(word: str, choices: Iterable[str], count: int = 3) -> str:
    """The ``count`` choices nearest to ``word`` as text for an error, e.g. ``did you mean 'rf/cosmap'?``"""
    known = list(choices)
    found = difflib.get_close_matches(word, known, n=count, cutoff=0.5)
    if found:
        return "did you mean " + " or ".join(repr(f) for f in found) + "?"
    shown = ", ".join(repr(c) for c in known[:12])
    return f"known: {shown}" + (", ..." if len(known) > 12 else "")


def nearest_path(path: Path, fits: Callable[[Path], bool]) -> str:
    """The path next to ``path`` whose name is nearest to it, of those that fit, as :func:`nearest`; else empty."""
    there = {p.name: p for p in path.parent.iterdir() if fits(p)} if path.parent.is_dir() else {}
    found = difflib.get_close_matches(path.name, there, n=1, cutoff=0.5)
    return f"did you mean {str(there[found[0]])!r}?" if found else ""


def refusals(checks: Iterable[Callable[[], object]]) -> list[str]:
    """The distinct sentences of the :class:`UserError` that checks raise."""
    found: dict[str, None] = {}
    for check in checks:
        try:
            check()
        except UserError as error:
            found[str(error)] = None
    return list(found)


def refuse(sentences: Iterable[str]) -> None:
    """Raise one :class:`UserError` with all sentences, if there are any."""
    if text := "; ".join(sentences):
        raise UserError(text)
