"""WebDataset tar shards: pictures and captions that share a name."""

from __future__ import annotations

import tarfile
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from bench.data.sources.folder import TEXTS, words_in
from bench.data.sources.items import LARGEST_TEXT, Item, Unreadable, read_file, shown
from bench.data.sources.listing import PICTURES, suffix


class Archive(Protocol):
    """A shard, wherever it lies."""

    @property
    def name(self) -> str:
        """Its own name, without folders."""
        ...

    def open(self) -> IO[bytes]:
        """Its bytes from the beginning."""
        ...

    def read(self, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset`` on. Raises :class:`Unreadable`."""
        ...

    def check_reached(self, error: Exception) -> None:
        """Raise :class:`Unreachable` for an error that does not come from the shard's content."""
        ...


@dataclass(frozen=True)
class LocalArchive:
    """A shard that is a file here."""

    path: Path

    @property
    def name(self) -> str:
        """Its own name."""
        return self.path.name

    def open(self) -> IO[bytes]:
        """Its bytes."""
        return self.path.open("rb")

    def read(self, offset: int, size: int) -> bytes:
        """Some of them."""
        return read_file(self.path, offset, size)

    def check_reached(self, error: Exception) -> None:
        """A file here is always reached."""


class Place(NamedTuple):
    """Where a member's bytes lie in its shard."""

    offset: int
    size: int


@dataclass
class Members:
    """What lies in a shard by name: where the bytes are, the bytes of short texts, and items for what cannot be read."""

    places: dict[str, Place] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)
    problems: list[Item] = field(default_factory=list)


class Names(NamedTuple):
    """A member's name up to its last dot, and up to the first dot of its last part: WebDataset's key."""

    stem: str
    key: str


def names_of(member: str) -> Names:
    """``a/b.c.jpg`` to ``a/b.c`` and ``a/b``."""
    folder, slash, base = member.rpartition("/")
    return Names(member[: len(member) - len(suffix(base))], f"{folder}{slash}{base.partition('.')[0]}")


def read(shard: Archive) -> tuple[list[Item], list[str]]:
    """The pictures of one tar. A picture belongs to the caption of its own name up to the last dot, else to that of its key.

    A member that has a caption and no picture is an item with a problem, as is the end of a shard that was cut off.
    """
    found = _members(shard)
    members = found.places
    texts: dict[str, dict[str, str]] = defaultdict(dict)
    for name in members:
        if suffix(name) in TEXTS:
            texts[names_of(name).stem][suffix(name)] = name
    pictures = [name for name in members if suffix(name) in PICTURES]
    plain = {names_of(name).stem for name in pictures}
    taken: set[str] = set()
    items, parts = [], 0
    for name in pictures:
        stem, key = names_of(name)
        owner = stem if stem in texts else key
        if owner != stem and owner in texts and (owner in plain or owner in taken):
            parts += 1  # masks and other pictures of a sample that has its own
            continue
        taken.add(owner)
        captions, problem = _caption(found, texts.get(owner, {}))
        items.append(Item(_named(shard, name), captions, problem, partial(shard.read, *members[name])))
    for owner in sorted(texts.keys() - taken):
        captions, _ = _caption(found, texts[owner])
        if captions and names_of(owner).key not in taken:
            items.append(Item(_named(shard, owner), captions, "it has a caption, but no picture"))
    notes = [f"{parts:,} further pictures of samples in {shard.name} are left out"] if parts else []
    return [*items, *found.problems], notes


def _named(shard: Archive, member: str) -> str:
    return f"{shown(shard.name)}/{shown(member)}"


def _members(shard: Archive) -> Members:
    """Regular members (links to an earlier one too). Texts are read on the way: the whole shard passes by once."""
    found = Members()
    try:
        with shard.open() as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                base = member.name.rpartition("/")[2]
                if base.startswith("."):
                    continue
                if member.isreg() and not member.issparse():
                    found.places[member.name] = Place(member.offset_data, member.size)
                    if (
                        suffix(base) in TEXTS
                        and member.size <= LARGEST_TEXT
                        and (text := tar.extractfile(member))
                    ):
                        found.texts[member.name] = text.read()
                elif member.islnk() and member.linkname in found.places:
                    found.places[member.name] = found.places[member.linkname]
                    if member.linkname in found.texts:
                        found.texts[member.name] = found.texts[member.linkname]
                elif suffix(base) in PICTURES:
                    found.problems.append(Item(_named(shard, member.name), problem="it is no regular file"))
    except Exception as error:
        shard.check_reached(error)
        what = "it is truncated" if found.places else "it is truncated, compressed or no tar file"
        found.problems.append(Item(shown(shard.name), problem=f"{what}: {error} (read up to there)"))
    return found


def _caption(found: Members, pieces: dict[str, str]) -> tuple[tuple[str, ...], str]:
    for kind in TEXTS:
        if kind in pieces:
            return words_in(partial(_text, found, pieces[kind]), kind)
    return (), "it has no caption"


def _text(found: Members, name: str) -> bytes:
    if name not in found.texts:
        size = found.places[name].size
        raise Unreadable(f"it has {size:,} bytes, more than the {LARGEST_TEXT:,} that are read")
    return found.texts[name]
