"""Which file a name in a table means, where the table was written for another folder or another machine."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

Parts = tuple[str, ...]


def parts_of(name: str) -> Parts:
    """The parts of a path of Unix or Windows, in NFC, without drive, a final ``#0`` and empty parts."""
    text = re.sub(r"^(file://|[A-Za-z]:)", "", name.strip().replace("\\", "/"))
    text = re.sub(r"#\d+$", "", unicodedata.normalize("NFC", text))
    return tuple(p for p in posixpath.normpath(text).split("/") if p not in ("", "."))


def resolve(names: Iterable[str], files: Mapping[Parts, str], bases: Iterable[Parts]) -> dict[str, str]:
    """File by name in the table, for those that are there.

    One rule is taken for the whole table, that with most matches: names lie below one of ``bases``, without some of the
    leading folders that all names have in common. So two names never become one file by what was left out.
    """
    parts = {name: parts_of(name) for name in dict.fromkeys(names)}
    best: dict[str, str] = {}
    for base in dict.fromkeys(bases):
        for drop in range(len(common(parts.values())) + 1):
            found = {n: files[at] for n, p in parts.items() if (at := _below(base, p[drop:])) in files}
            if len(found) > len(best):
                best = found
            if len(best) == len(parts):
                return best
    return best


def common(paths: Iterable[Parts]) -> Parts:
    """The folders in which all paths begin."""
    folders = [p[:-1] for p in paths]
    if not folders:
        return ()
    low, high = min(folders), max(folders)
    same = next(
        (i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high))
    )
    return low[:same]


def _below(base: Parts, tail: Parts) -> Parts:
    if ".." not in tail:
        return base + tail
    return tuple(posixpath.normpath("/".join(base + tail)).split("/"))


def folders_of(pictures: Iterable[Parts], table: str) -> Iterator[Parts]:
    """Folders that a table's names may be in: its own, the top, that of all pictures, those it is called after."""
    paths = list(pictures)
    own = parts_of(table)
    yield own[:-1]
    yield ()
    yield common(paths)
    stem = posixpath.splitext(own[-1])[0]
    for folder in sorted({p[:-1] for p in paths}):
        if folder and stem.endswith(folder[-1]):
            yield folder
