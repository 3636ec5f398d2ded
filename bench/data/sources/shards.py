"""WebDataset tar shards: pictures and captions that share a name."""

from __future__ import annotations

import tarfile
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench.data.sources.folder import TEXTS, words_in
from bench.data.sources.items import LARGEST_TEXT, Item, read_file, shown
from bench.data.sources.listing import PICTURES, suffix


class Place(NamedTuple):
    """Where a member's bytes lie in its shard."""

    offset: int
    size: int


class Names(NamedTuple):
    """A member's name up to its last dot, and up to the first dot of its last part: WebDataset's key."""

    stem: str
    key: str


def names_of(member: str) -> Names:
    """``a/b.c.jpg`` to ``a/b.c`` and ``a/b``."""
    folder, slash, base = member.rpartition("/")
    return Names(member[: len(member) - len(suffix(base))], f"{folder}{slash}{base.partition('.')[0]}")


def read(shard: Path) -> tuple[list[Item], list[str]]:
    """The pictures of one tar. A picture belongs to the caption of its own name up to the last dot, else to that of its key.

    A member that has a caption and no picture is an item with a problem, as is the end of a shard that was cut off.
    """
    members, problems = _members(shard)
    texts: dict[str, dict[str, Place]] = defaultdict(dict)
    for name, place in members.items():
        if suffix(name) in TEXTS:
            texts[names_of(name).stem][suffix(name)] = place
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
        captions, problem = _caption(shard, texts.get(owner, {}))
        items.append(Item(_named(shard, name), captions, problem, partial(read_file, shard, *members[name])))
    for owner in sorted(texts.keys() - taken):
        captions, _ = _caption(shard, texts[owner])
        if captions and names_of(owner).key not in taken:
            items.append(Item(_named(shard, owner), captions, "it has a caption, but no picture"))
    notes = [f"{parts:,} further pictures of samples in {shard.name} are left out"] if parts else []
    return [*items, *problems], notes


def _named(shard: Path, member: str) -> str:
    return f"{shown(shard.name)}/{shown(member)}"


def _members(shard: Path) -> tuple[dict[str, Place], list[Item]]:
    """Regular members by name (links to an earlier one too), and an item for what cannot be read."""
    members: dict[str, Place] = {}
    problems: list[Item] = []
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                base = member.name.rpartition("/")[2]
                if base.startswith("."):
                    continue
                if member.isreg() and not member.issparse():
                    members[member.name] = Place(member.offset_data, member.size)
                elif member.islnk() and member.linkname in members:
                    members[member.name] = members[member.linkname]
                elif suffix(base) in PICTURES:
                    problems.append(Item(_named(shard, member.name), problem="it is no regular file"))
    except Exception as error:
        what = "it is truncated" if members else "it is truncated, compressed or no tar file"
        problems.append(Item(shown(shard.name), problem=f"{what}: {error} (read up to there)"))
    return members, problems


def _caption(shard: Path, pieces: dict[str, Place]) -> tuple[tuple[str, ...], str]:
    for kind in TEXTS:
        if kind in pieces:
            return words_in(partial(read_file, shard, *pieces[kind], most=LARGEST_TEXT), kind)
    return (), "it has no caption"
