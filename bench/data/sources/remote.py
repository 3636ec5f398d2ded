"""Tar shards behind a URL, through fsspec: ``s3://bucket/{00000..00031}.tar``, ``https://``, ``gs://``, ``hf://``.

A shard is streamed once to list its members and to read its captions; pictures are read by their place in it when they are
wanted, many at a time. Nothing is copied but the decoded pictures of :mod:`bench.data.images`.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from dataclasses import dataclass
from typing import IO, Any

from bench.data.sources import shards
from bench.data.sources.braces import expand_braces
from bench.data.sources.items import LARGEST_FILE, Contents, Unreachable, Unreadable
from bench.data.sources.listing import pooled, suffix
from flowbench._core.errors import UserError, nearest

BLOCK = 1 << 22
"""Bytes of a request while a shard is listed."""


def is_url(text: str) -> bool:
    """Whether a path is a URL."""
    return "://" in text


@dataclass(frozen=True)
class RemoteArchive:
    """A shard at a ``path`` of a file system of fsspec."""

    system: Any
    path: str

    @property
    def name(self) -> str:
        """Its own name."""
        return self.path.rpartition("/")[2]

    def open(self) -> IO[bytes]:
        """Its bytes, read ahead in blocks."""
        opened: IO[bytes] = self.system.open(self.path, "rb", block_size=BLOCK, cache_type="readahead")
        return opened

    def facts(self) -> list[object]:
        """What changes with the shard, without reading it."""
        try:
            return [self.path, self.system.size(self.path), self.system.ukey(self.path)]
        except Exception as error:
            self.check_reached(error)
            raise

    def read(self, offset: int, size: int) -> bytes:
        """Some of them, by one request. Raises :class:`Unreadable`."""
        if size > LARGEST_FILE:
            raise Unreadable(f"it has {size:,} bytes, more than the {LARGEST_FILE:,} that are read")
        try:
            found: bytes = self.system.cat_file(self.path, start=offset, end=offset + size)
            if len(found) != size:
                raise OSError(f"{len(found):,} of {size:,} bytes came: was it changed?")
        except Exception as error:  # each file system has errors of its own
            self.check_reached(error)
        return found

    def check_reached(self, error: Exception) -> None:
        """All errors but those of reading a tar come from the network, or from a shard that was changed meanwhile."""
        if not isinstance(error, tarfile.TarError):
            raise Unreachable(
                f"{self.path} cannot be reached ({_line(error)}): run the same command again"
            ) from None


@dataclass(frozen=True)
class RemoteSource:
    """Shards behind URLs, in the order of their names."""

    name: str
    archives: tuple[RemoteArchive, ...]

    def fingerprint(self) -> str:
        """A hash of each shard's name, size, and what else its file system has of it, such as a checksum."""
        facts = [each.facts() for each in self.archives]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def read(self) -> Contents:
        """All items, with captions or a problem."""
        parts = [shards.read(archive) for archive in self.archives]
        found = [*(n for _, notes in parts for n in notes), *pooled(each.name for each in self.archives)]
        return Contents([i for items, _ in parts for i in items], found)


def find(text: str) -> RemoteSource:
    """The shards of a URL, which may be a pattern.

    Raises:
        UserError: its scheme is not known or needs a package, nothing is there, or it is no ``.tar``.
    """
    found: dict[str, RemoteArchive] = {}
    for url in expand_braces(text):
        system, path = _system(text, url)
        try:
            paths = system.glob(path) if re.search(r"[*?\[]", path) else [path] if system.exists(path) else []
        except Exception as error:  # each file system has errors of its own
            raise UserError(f"images:{text} cannot be reached: {_line(error)}") from None
        if not paths:
            raise UserError(f"images:{text}: there is no {url}")
        found |= {each: RemoteArchive(system, each) for each in paths}
    archives = tuple(found[path] for path in sorted(found))
    if wrong := next((each.name for each in archives if suffix(each.name) != ".tar"), None):
        raise UserError(f"images:{text}: behind a URL only uncompressed .tar shards are read, not {wrong}")
    folder = archives[0].path.rpartition("/")[0]
    single = archives[0].name.removesuffix(".tar")
    return RemoteSource(single if len(archives) == 1 else folder.rpartition("/")[2] or single, archives)


def _system(text: str, url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path there."""
    import fsspec

    scheme = url.partition("://")[0]
    if "::" in url:
        raise UserError(f"images:{text}: chained URLs are not read, give that of the shards")
    if scheme not in fsspec.available_protocols():
        raise UserError(
            f"images:{text}: the scheme {scheme!r} is not known; {nearest(scheme, ('s3', 'https', 'gs', 'hf'))}"
        )
    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise UserError(f"images:{text} needs a package that is not installed: {_line(error)}") from None
    except Exception as error:  # such as a URL without a host
        raise UserError(f"images:{text} cannot be reached: {_line(error)}") from None
    return system, path


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
