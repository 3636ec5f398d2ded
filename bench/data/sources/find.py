"""From the PATH of ``images:PATH`` to a source: a folder of pictures, tar shards, or files of Arrow and parquet."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from bench.data.sources import arrow, folder, remote, shards
from bench.data.sources.braces import expand_braces
from bench.data.sources.items import Contents, shown
from bench.data.sources.listing import ARROW, PICTURES, listing, pooled, suffix, walk
from flowbench._core.errors import UserError, nearest

PACKED = frozenset({".tar", *ARROW})
"""Endings of files that hold many pictures."""


@dataclass(frozen=True)
class Source:
    """Pictures with captions: in the folder ``root``, or in ``packed`` files. ``files`` are all that matter."""

    name: str
    root: Path
    files: tuple[str | Path, ...]
    packed: tuple[Path, ...] = ()
    second: str = ""
    """One more column of captions."""

    def fingerprint(self) -> str:
        """A hash of every file's relative name, size and modification time."""
        facts: list[list[str | int]] = []
        for path in self.files:
            stat = os.stat(path)
            facts.append([self._below(path), stat.st_size, stat.st_mtime_ns])
        facts += [[self.second]] if self.second else []
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def read(self) -> Contents:
        """All items, with captions or a problem. Raises UserError if there are no captions at all."""
        if not self.packed:
            items, notes = folder.read(self.root, self.second)
            return Contents(items, [*notes, *pooled(self._below(f).rpartition("/")[0] for f in self.files)])
        if self.second and any(suffix(file.name) == ".tar" for file in self.packed):
            raise no_columns(self.name, self.second)
        parts = [
            shards.read(shards.LocalArchive(file))
            if suffix(file.name) == ".tar"
            else arrow.read(file, self.second)
            for file in self.packed
        ]
        found = [*(n for _, notes in parts for n in notes), *pooled(map(self._below, self.packed))]
        return Contents([i for items, _ in parts for i in items], found)

    def _below(self, file: str | Path) -> str:
        """A file's name relative to the root."""
        name, below = str(file), f"{self.root}/"
        return name.removeprefix(below) if name.startswith(below) else os.path.relpath(name, self.root)


def check(text: str) -> None:
    """Raises UserError if there is nothing at ``PATH`` that could be read. Looks no further than the first picture."""
    if remote.is_url(text):
        remote.find(text)
        return
    path = _path(text)
    if path.is_dir():
        root = path.resolve()
        if not any(suffix(name) in PICTURES | PACKED for name, _ in walk(root)):
            raise _empty(root)
    else:
        _find_packed(text, path)


def no_columns(name: str, second: str) -> UserError:
    """The sentence about a second column of captions of shards."""
    return UserError(f"images:{name}: second={second} is a column of a table, and tar shards have none")


def find(text: str, second: str = "") -> Source | remote.RemoteSource:
    """The source that ``PATH`` of ``images:PATH`` names.

    Args:
        text: a folder of pictures or of packed files, one ``.tar``, ``.parquet`` or ``.arrow`` file, or a pattern of them
            with ``*``, ``?``, ``{00000..00031}`` or ``{a,b}``; or the URL of ``.tar`` files, with or without a pattern.
        second: one more column of captions, of tables, parquet and Arrow.

    Raises:
        UserError: nothing is there, it cannot be read, or it holds no pictures.
    """
    if remote.is_url(text):
        if second:
            raise no_columns(text, second)
        return remote.find(text)
    path = _path(text)
    found = _find_in_folder(path.resolve()) if path.is_dir() else _find_packed(text, path)
    return replace(found, second=second)


def _path(text: str) -> Path:
    if not text.strip():
        raise UserError(
            "dataset 'images:' names no path; give a folder or .tar shards, e.g. images:data/photos"
        )
    return Path(text).expanduser()


def _find_packed(text: str, path: Path) -> Source:
    if path.is_file():
        if suffix(path.name) not in PACKED:
            raise UserError(
                f"images:{text} is neither a folder nor an uncompressed .tar shard, .parquet or .arrow"
            )
        return Source(path.stem, path.resolve().parent, (path.resolve(),), (path.resolve(),))
    if re.search(r"[*?{\[]", text):
        return _find_by_pattern(text)
    if path.exists() or not path.parent.is_dir():
        raise UserError(f"images:{text}: no such file or folder; name one, e.g. images:data/photos")
    there = sorted(p.name for p in path.parent.iterdir())
    raise UserError(f"images:{text}: no such file or folder; next to it, {nearest(path.name, there)}")


def _find_in_folder(root: Path) -> Source:
    there = listing(root)
    pictures = bool(there.ending(PICTURES)) or bool(there.odd)
    tars = [Path(there.files[n]) for n in there.ending({".tar"})]
    rows = [
        p
        for p in (Path(there.files[n]) for n in there.ending(ARROW))
        if arrow.belongs(p) and arrow.has_pictures(p)
    ]
    kinds = [
        k for k, found in (("images", pictures), ("tar shards", tars), ("parquet or Arrow", rows)) if found
    ]
    if len(kinds) > 1:
        pattern = "*.tar" if tars else f"*{suffix(rows[0].name)}"
        raise UserError(
            f"images:{root} holds both {' and '.join(kinds)}; name the files: images:{root}/{pattern}"
        )
    if packed := tuple(tars or rows):
        states = [p.with_name("state.json") for p in packed]
        return Source(root.name, root, (*packed, *sorted({s for s in states if s.is_file()})), packed)
    if not pictures:
        raise _empty(root)
    return Source(root.name, root, (*there.files.values(), *folder.outside(root)))


def _empty(root: Path) -> UserError:
    return UserError(
        f"images:{root} holds no images, .tar shards, .parquet or .arrow files, but {listing(root).describe()}"
    )


def _find_by_pattern(text: str) -> Source:
    matches = [Path(m).resolve() for p in expand_braces(text) for m in glob.glob(os.path.expanduser(p))]
    packed = tuple(sorted(set(matches)))
    if not packed:
        raise UserError(f"images:{text} matches no file")
    wrong = [p.name for p in packed if suffix(p.name) not in PACKED or not p.is_file()]
    if wrong:
        raise UserError(
            f"images:{text} matches {shown(wrong[0])}, which is not an uncompressed .tar shard, .parquet or .arrow"
        )
    root = Path(os.path.commonpath([p.parent for p in packed]))
    return Source(root.name, root, packed, packed)
