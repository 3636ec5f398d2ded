"""Names of columns as people and spreadsheets write them: without regard to case and blanks, and in a frame's index."""

from __future__ import annotations

import difflib
import re
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from samplers.errors import Notice, UserError

if TYPE_CHECKING:
    import pandas as pd

NEAR = 0.75
"""A name that resembles a known one as much (`difflib`) is taken for a misspelling of it."""


def fold(name: object) -> str:
    """A name without case, with underscores for blanks and hyphens: ``Val Loss`` and ``VAL_LOSS`` are ``val_loss``."""
    text = unicodedata.normalize("NFKC", str(name)).strip().casefold()
    return re.sub(r"[\s_-]+", "_", text)


def recognised(frame: pd.DataFrame, known: Sequence[str], where: str) -> pd.DataFrame:
    """A copy of a frame whose columns have the ``known`` names where they fold to one, with the named levels of its index as
    columns and rows counted from 0.

    Raises `UserError` for two columns of one known name, and warns (`Notice`) of a column that is nearly one.
    """
    levels = [name for name in frame.index.names if name is not None]
    both = [name for name in levels if name in frame.columns]
    if both:
        raise UserError(f"{where} has {str(both[0])!r} as a column and as a level of its index")
    out = (frame.reset_index(level=levels) if levels else frame).reset_index(drop=True)
    found: dict[str, list[str]] = {}
    for name in map(str, out.columns):
        found.setdefault(fold(name), []).append(name)
    for name in known:
        if len(spelled := found.get(name, [])) > 1:
            how = f": as {' and '.join(map(repr, spelled))}" if len(set(spelled)) > 1 else ""
            raise UserError(f"{where} has the column {name!r} twice{how}")
    for line in _near_misses(found, known):
        warnings.warn(f"{where}: {line}", Notice, stacklevel=3)
    return out.set_axis([_known(str(name), known) for name in out.columns], axis="columns").copy()


def _known(name: str, known: Iterable[str]) -> str:
    return fold(name) if fold(name) in known else name


def _near_misses(found: dict[str, list[str]], known: Sequence[str]) -> list[str]:
    """A line for each column that is nearly a known one which the table lacks."""
    absent = [name for name in known if name not in found]
    lines = []
    for folded, spelled in found.items():
        near = [] if folded in known else difflib.get_close_matches(folded, absent, n=1, cutoff=NEAR)
        lines += [f"column {name!r} is ignored: did you mean {near[0]!r}?" for name in spelled if near]
    return lines
