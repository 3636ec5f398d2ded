"""Names of columns and labels of rows as people and spreadsheets write them: one spelling of each, and a warning of two that
look alike."""

from __future__ import annotations

import difflib
import re
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from flowbench._core.errors import Notice, UserError
from flowbench._core.grammar import numbers_in_glob
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

ABSENT = ("", "nan", "none", "na", "n/a", "null", "<na>", "#n/a", "#nv", "-", "–", "—")
"""What people and spreadsheets write for no value."""
_UNNAMED = re.compile(r"(Unnamed: \d+)?")
"""The name that pandas gives a column without one."""
NEAR = 0.75
"""A name that resembles a known one as much (`difflib`) is taken for a misspelling of it."""


def fold(name: object) -> str:
    """A name without case, with underscores for blanks and hyphens: ``Val Loss`` and ``VAL_LOSS`` are ``val_loss``."""
    text = unicodedata.normalize("NFKC", str(name)).strip().casefold()
    return re.sub(r"[\s_-]+", "_", text)


def recognised(frame: pd.DataFrame, known: Sequence[str], where: str) -> pd.DataFrame:
    """A copy of a frame whose columns have the ``known`` names where they fold to one, with the named levels of its index as
    columns and rows counted from 0.

    Raises `UserError` for two columns of one known name, and warns (`Notice`) of a column that is nearly one, and of numbers
    in columns that are not known: nothing shows them.
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
    absent, undeclared = [name for name in known if name not in found], []
    for i, name in enumerate(map(str, out.columns)):
        if fold(name) in known or _UNNAMED.fullmatch(name):
            continue
        near = difflib.get_close_matches(fold(name), absent, n=1, cutoff=NEAR)
        if near:
            line = f"{where}: column {name!r} is ignored: did you mean {near[0]!r}?"
            warnings.warn(line, Notice, stacklevel=3)
        elif _numbers(out.iloc[:, i]):
            undeclared.append(repr(name))
    if undeclared and len(absent) < len(known):  # a table of something else is refused by its reader
        what = f"column{'s' if len(undeclared) > 1 else ''} {', '.join(undeclared)}"
        warnings.warn(f"{where}: {what} in no table: no metric declares these numbers", Notice, stacklevel=3)
    return out.set_axis([_known(str(name), known) for name in out.columns], axis="columns").copy()


def _numbers(values: pd.Series[Any]) -> bool:
    """Whether a column has numbers, and nothing else."""
    if pd.api.types.is_bool_dtype(values):
        return False
    there = values.dropna().astype(str).str.strip().str.replace(",", ".")
    there = there[~there.str.lower().isin(ABSENT)]
    return len(there) > 0 and bool(pd.to_numeric(there, errors="coerce").notna().all())


def _known(name: str, known: Iterable[str]) -> str:
    return fold(name) if fold(name) in known else name


OURS = re.compile(r"(rf|edm|x|eps|v|u|F)(?=[/(@+]|$)")
"""How the names of our formulations begin; numbers in them have one spelling."""


def canonical(name: str) -> str:
    """A formulation's name with its numbers as we spell them, if the name is of our grammar:
    ``rf/lognorm(0.00,1.00)`` of ``rf/lognorm(0, 1)``."""
    return numbers_in_glob(name) if OURS.match(name) else name


def known(name: str, names: Iterable[str]) -> str | None:
    """The one of some names that ``name`` is, in any spelling of its numbers; None if it is none."""
    spelt = {numbers_in_glob(each): each for each in names}
    return name if name in spelt.values() else spelt.get(numbers_in_glob(name))


def appearance(label: str) -> str:
    """What a reader may take two labels for: without case, blanks and ways to encode a letter."""
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", label).casefold())


def warn_of_lookalikes(labels: Any, column: str, where: str) -> None:
    """A `Notice` for the labels of a column that look alike and differ."""
    groups: dict[str, list[str]] = {}
    for label in dict.fromkeys(map(str, labels)):
        groups.setdefault(appearance(label), []).append(label)
    for alike in groups.values():
        if len(alike) > 1:
            same = len({unicodedata.normalize("NFC", label) for label in alike}) == 1
            spelled = " and ".join(map(ascii if same else repr, alike))
            sentence = f"{where}: {column} {spelled} look alike, and are taken for {len(alike)}"
            warnings.warn(sentence, Notice, stacklevel=3)
