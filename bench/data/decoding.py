"""Decodes pictures into an array on disk, on all cores, and continues where a command was stopped.

.new-STEM.npy      the distinct pictures so far, uint8 [N, 3, R, R]
.new-STEM.jsonl    a line for each chunk of items whose pictures are on disk: what became of each item
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from flowbench._core import atomic
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    from bench.data import pixels, sources
else:
    pixels, sources = lazy("bench.data.pixels"), lazy("bench.data.sources")

CHUNK = 256
"""Encoded images held in memory at once."""
LINE = 4096
"""Items of a line of the log, before which the disk has to keep their pictures: as many are decoded again after a stop."""
Outcome = Sequence[str] | str
"""Of an item: the sha256 of its file and that of its pixels, or why it is left out."""


class Skipped(UserError):
    """Too many items of a source are left out."""


@dataclass
class Record:
    """What is known of the distinct pictures of a source: ``keys``, the smallest sha256 of their encoded files, and all
    their captions. ``copies`` of the items were a picture that is there already; ``skipped`` are left out, and why."""

    keys: list[str] = field(default_factory=list)
    captions: list[list[str]] = field(default_factory=list)
    copies: int = 0
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def check(self, place: str, max_skipped: float) -> None:
        """Raises :class:`Skipped` if more than the share ``max_skipped`` of the items is corrupt or caption-less."""
        total = len(self.keys) + self.copies + len(self.skipped)
        if len(self.skipped) > max_skipped * total or not self.keys:
            raise Skipped(
                f"images:{place}: {len(self.skipped)} of {total} items are corrupt or have no caption "
                f"(at most {max_skipped:.1%} may), the first: {'; '.join(self.skipped[:3])}"
            )


@dataclass(frozen=True)
class Unfinished:
    """The two files of a decoding that has not ended."""

    array: Path
    log: Path

    @classmethod
    def of(cls, folder: Path, stem: str, alone: bool) -> Unfinished:
        """Those of a name in the folder of a cache. A machine has its own, since locks of some disks hold on one only; where
        a process is not ``alone``, it has its own."""
        host = f"{stem}.{platform.node()}" + ("" if alone else f".{os.getpid()}")
        array, log = (folder / f"{atomic.NEW}{host}{suffix}" for suffix in (".npy", ".jsonl"))
        return cls(array, log)

    def finish(self, file: Path) -> None:
        """Put the array in its place, as readable as its folder."""
        self.array.chmod(file.parent.stat().st_mode & 0o644)
        self.array.replace(file)
        self.log.unlink()

    def remove(self) -> None:
        """Delete both, if they are there."""
        with suppress(OSError):
            self.array.unlink(missing_ok=True)
            self.log.unlink(missing_ok=True)


class Distinct:
    """The record of distinct pictures, as it grows in the order in which they are met."""

    def __init__(self) -> None:
        self.record = Record()
        self._place: dict[bytes, int] = {}

    def add(self, item: sources.Item, outcome: Outcome) -> bool:
        """Note what became of an item; returns whether it is a picture that was not there yet."""
        record = self.record
        if isinstance(outcome, str):
            record.skipped.append(outcome)
            return False
        key, digest = outcome
        at = self._place.setdefault(bytes.fromhex(digest), len(record.keys))
        if at == len(record.keys):
            record.keys.append(key)
            record.captions.append(list(item.captions))
            return True
        record.copies += 1
        record.keys[at] = min(record.keys[at], key)
        record.captions[at] = list(dict.fromkeys([*record.captions[at], *item.captions]))
        return False


@dataclass(frozen=True)
class Progress:
    """What a stopped command has left: the record of so many items, and where what counts ends in the two files."""

    found: Distinct
    items: int = 0
    array: int = 0
    log: int = 0


def decode_all(items: Sequence[sources.Item], resolution: int, files: Unfinished) -> Record:
    """Write the distinct pictures of all items, but for those that ``files`` already have."""
    left = progress(items, resolution, files)
    threads = ThreadPoolExecutor(min(16, len(os.sched_getaffinity(0))))  # PIL decodes outside the lock
    with threads as pool, opened(files.array, left.array) as out, opened(files.log, left.log) as log:
        if not left.items:
            write_header(out, len(items), resolution)
        outcomes: list[Outcome] = []
        for start in range(left.items, len(items), CHUNK):
            chunk = items[start : start + CHUNK]
            for item, result in zip(chunk, pool.map(attempt, chunk, [resolution] * len(chunk)), strict=True):
                if isinstance(result, str):
                    left.found.add(item, result)
                    outcomes.append(result)
                    continue
                values = result[1].tobytes()
                outcomes.append((result[0], hashlib.sha256(values).hexdigest()))
                if left.found.add(item, outcomes[-1]):
                    out.write(values)
            if len(outcomes) >= LINE:
                synced(out)  # before the line that counts on it
                log.write(json.dumps(outcomes).encode() + b"\n")
                log.flush()
                outcomes.clear()
        out.seek(0)
        write_header(out, len(left.found.record.keys), resolution)
        synced(out)
    return left.found.record


def progress(items: Sequence[sources.Item], resolution: int, files: Unfinished) -> Progress:
    """How far a stopped command has come; not at all where its files are absent or damaged."""
    found, done, end = Distinct(), 0, 0
    try:
        size, lines = files.array.stat().st_size, files.log.read_bytes().splitlines(keepends=True)
        for line in lines:
            if not line.endswith(b"\n"):
                break  # the command was stopped while it wrote the line
            outcomes: list[Outcome] = json.loads(line)
            for item, outcome in zip(items[done : done + len(outcomes)], outcomes, strict=True):
                found.add(item, outcome)
            done, end = done + len(outcomes), end + len(line)
    except (FileNotFoundError, ValueError):
        return Progress(Distinct())
    array = HEADER + len(found.record.keys) * 3 * resolution**2
    return Progress(found, done, array, end) if done and array <= size else Progress(Distinct())


def opened(file: Path, end: int) -> BinaryIO:
    """A file to be written from ``end`` on; what it has behind is cut off."""
    out = file.open("r+b" if end else "wb")
    out.truncate(end)
    out.seek(end)
    return out


def attempt(item: sources.Item, resolution: int) -> tuple[str, NDArray[np.uint8]] | str:
    """The sha256 of the item's file and its pixels, or why it is left out."""
    if item.problem:
        return f"{item.name}: {item.problem}"
    try:
        data = item.read()
        return hashlib.sha256(data).hexdigest(), pixels.decode(data, resolution)
    except sources.Unreachable:
        raise
    except (
        Exception
    ) as error:  # every format of Pillow has errors of its own, and one item may not stop the others
        reason = str(error) if "BytesIO" not in str(error) else "not a known image format"
        return f"{item.name}: {reason or type(error).__name__}"


HEADER = 128
"""Bytes of the header of a ``.npy`` file, of the same length for every count."""


def write_header(out: BinaryIO, count: int, resolution: int) -> None:
    """The header of an array of so many pictures."""
    about = {"shape": (count, 3, resolution, resolution), "fortran_order": False, "descr": "|u1"}
    np.lib.format.write_array_header_1_0(out, about)
    assert out.tell() == HEADER


def synced(out: BinaryIO) -> None:
    """Have the disk keep what is written."""
    out.flush()
    os.fsync(out.fileno())
