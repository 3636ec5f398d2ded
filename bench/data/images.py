"""``images:PATH``: a user's own captioned images, decoded once into a uint8 array on disk and read from there."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.config.experiment import Images
from bench.data import drop_list
from bench.data.builder import Builder, register
from bench.data.caption_mix import ALIKE, mixed
from bench.data.dataset import Dataset, Picked, Rows, Split, build
from bench.data.held_out import hash_split
from flowbench._core import atomic
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    from bench.data import pixels, sources
else:
    pixels, sources = lazy("bench.data.pixels"), lazy("bench.data.sources")

_CHUNK = 256  # encoded images held in memory at once
LEFT_SECONDS = 86400.0
"""An unfinished file of the cache that has not changed for so long was left by a command that was killed."""


MOST_SKIPPED = 0.05
"""The largest share of corrupt or caption-less items that is tolerated."""


@dataclass
class Record:
    """What is known of the distinct pictures of a source: ``keys``, the smallest sha256 of their encoded files, and all
    their captions. ``copies`` of the items were a picture that is there already; ``skipped`` are left out, and why."""

    keys: list[str]
    captions: list[list[str]]
    copies: int
    skipped: list[str]
    notes: list[str]

    def check(self, place: str, max_skipped: float) -> None:
        """Raises UserError if more than the share ``max_skipped`` of the items is corrupt or caption-less."""
        total = len(self.keys) + self.copies + len(self.skipped)
        if len(self.skipped) > max_skipped * total or not self.keys:
            raise UserError(
                f"images:{place}: {len(self.skipped)} of {total} items are corrupt or have no caption "
                f"(at most {max_skipped:.1%} may), the first: {'; '.join(self.skipped[:3])}"
            )

    def split(self, images: Rows, chosen: list[int]) -> Split:
        """The pictures ``chosen``, in the order of their keys, read when they are asked for."""
        rows = sorted(chosen, key=lambda i: self.keys[i])
        captions = tuple(tuple(self.captions[i]) for i in rows)
        several = captions if any(len(c) > 1 for c in captions) else ()
        return Split(Picked(images, np.array(rows)), tuple(c[0] for c in captions), alternatives=several)


class Decoded(NamedTuple):
    """Distinct pictures ``[N, 3, R, R]`` on disk by the name of their ``source``, and what is known of them."""

    source: str
    pictures: NDArray[np.uint8]
    record: Record


@dataclass(frozen=True)
class Files(Builder):
    """The images at ``path``, decoded once into an array in the folder ``cache``, by default the user's.

    A picture's side of the split depends on the bytes of its file only, so a copy under another name is on the same side;
    copies are one picture with the captions of all. At most ``max_skipped`` of the items may be corrupt or caption-less.
    """

    path: str
    cache: Path | None = None
    max_skipped: float = MOST_SKIPPED
    drop: Path | None = None
    """A list of pictures that are left out (:mod:`bench.data.drop_list`)."""
    mix: float = ALIKE
    """Probability of another than the first caption of a picture (:mod:`bench.data.caption_mix`)."""
    second: str = ""
    """One more column of captions."""

    def check(self) -> None:
        """Lists a folder up to its first picture, and reads the list of those that are left out."""
        sources.check(self.path)
        if self.drop:
            drop_list.read(self.drop)

    def decoded(self, resolution: int) -> Decoded:
        """The distinct pictures at a resolution, decoded if they are not yet."""
        source = sources.find(self.path, self.second)
        stem, folder = _stem(source.name, source.fingerprint(), resolution), cache_folder(self.cache)
        kept = _read_cache(folder, stem)
        if kept is None:
            with _alone(folder):
                if not _read_cache(folder, stem):
                    self._fill_cache(folder, stem, source.read(), resolution)
            kept = _read_cache(folder, stem)
            assert kept is not None
        kept[1].check(self.path, self.max_skipped)
        return Decoded(source.name, *kept)

    def cache_bytes(self, resolution: int) -> int:
        """Three bytes a pixel of each picture. Lists them, and decodes none."""
        source = sources.find(self.path, self.second)
        if _read_cache(cache_folder(self.cache), _stem(source.name, source.fingerprint(), resolution)):
            return 0
        return sum(not item.problem for item in source.read().items) * 3 * resolution**2

    def chosen(self, record: Record) -> list[int]:
        """The places of the pictures that are not left out."""
        return drop_list.left(record.keys, self.drop) if self.drop else list(range(len(record.keys)))

    def load(self, name: str, images: Images) -> Dataset:
        """The distinct pictures and their captions; memory holds those that are read."""
        source, decoded, record = self.decoded(images.resolution)
        chosen = self.chosen(record)
        sides = hash_split([record.keys[i] for i in chosen], images.train, images.validation)
        first, second = (record.split(decoded, [chosen[i] for i in side]) for side in sides)
        notes = list(record.notes)
        if self.drop:
            notes.append(f"{len(record.keys) - len(chosen):,} pictures are left out by {self.drop.name}")
        if record.copies:
            notes.append(
                f"{record.copies:,} items show a picture that is there already, and add no more than captions"
            )
        shown = f"images:{sources.shown(source)}"
        first = mixed(first, self.mix, shown)
        return build(shown, (first, second), skipped=record.skipped, notes=notes)

    def captions(self, name: str, images: Images) -> list[str]:
        """Without decoding more than :data:`_CHUNK` pictures. Raises the UserError of :meth:`load`: of few pictures any, of
        many what their names and captions show."""
        contents = sources.find(self.path, self.second).read()
        if len(contents.items) <= _CHUNK:
            return self.load(name, images).train.texts()
        usable = [item for item in contents.items if not item.problem]
        skipped = [f"{item.name}: {item.problem}" for item in contents.items if item.problem]
        Record([item.name for item in usable], [], 0, skipped, []).check(self.path, self.max_skipped)
        return [caption for item in usable for caption in item.captions]

    def _fill_cache(self, folder: Path, stem: str, contents: sources.Contents, resolution: int) -> None:
        """Write the array, then the record that makes it count; both appear whole. What other commands left unfinished is
        swept."""
        record = Record([], [], 0, [], contents.notes)

        def decode(file: Path) -> None:
            _decode_all(contents.items, resolution, record, file)
            record.check(self.path, self.max_skipped)

        try:
            atomic.sweep(folder, LEFT_SECONDS)
            atomic.write_whole(folder / f"{stem}.npy", decode)
            atomic.write_json(folder / f"{stem}.json", asdict(record))
        except OSError as error:
            raise _unwritable(folder, error) from None


@register("images(path,drop,mix,second)")
def images(path: str, drop: str = "", mix: float = ALIKE, second: str = "") -> Builder:
    """A folder or packed files of a user's own captioned images, but for those that a list of `bench.dedup` drops."""
    return Files(path, drop=Path(drop).expanduser() if drop else None, mix=mix, second=second)


def _attempt(item: sources.Item, resolution: int) -> tuple[str, NDArray[np.uint8]] | str:
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


def _decode_all(items: list[sources.Item], resolution: int, record: Record, file: Path) -> None:
    """Write the distinct pictures, uint8 ``[N, 3, R, R]``, in the order in which they are met; note them in ``record``."""
    place: dict[bytes, int] = {}
    with ThreadPoolExecutor(min(16, len(os.sched_getaffinity(0)))) as pool, file.open("wb") as out:
        _write_header(out, len(items), resolution)
        for start in range(0, len(items), _CHUNK):  # PIL decodes outside the lock
            chunk = items[start : start + _CHUNK]
            for item, result in zip(chunk, pool.map(_attempt, chunk, [resolution] * len(chunk)), strict=True):
                if isinstance(result, str):
                    record.skipped.append(result)
                    continue
                key, picture = result
                values = picture.tobytes()
                at = place.setdefault(hashlib.sha256(values).digest(), len(record.keys))
                if at == len(record.keys):
                    out.write(values)
                    record.keys.append(key)
                    record.captions.append(list(item.captions))
                else:
                    record.copies += 1
                    record.keys[at] = min(record.keys[at], key)
                    record.captions[at] = list(dict.fromkeys([*record.captions[at], *item.captions]))
        out.seek(0)
        _write_header(out, len(record.keys), resolution)


def _write_header(out: BinaryIO, count: int, resolution: int) -> None:
    """The header of a ``.npy`` file, of the same length for every count."""
    about = {"shape": (count, 3, resolution, resolution), "fortran_order": False, "descr": "|u1"}
    np.lib.format.write_array_header_1_0(out, about)


def _stem(name: str, fingerprint: str, resolution: int) -> str:
    """How the files of a source in the cache are named."""
    return re.sub(r"[^\w.-]+", "_", f"{name}-{resolution}-{pixels.RECIPE}-{fingerprint[:16]}")


def cache_folder(cache: str | Path | None) -> Path:
    """``cache`` itself, or the user's cache folder."""
    if cache is not None:
        return Path(cache).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flowbench"


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(
        f"the image cache {folder} cannot be written ({error.strerror}); "
        "set XDG_CACHE_HOME to a folder that can be"
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Make the folder of a cache, and let one process at a time fill it: of several that begin together one decodes. Where a
    disk has no locks for folders, each does."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _read_cache(folder: Path, stem: str) -> tuple[NDArray[np.uint8], Record] | None:
    """What an earlier load wrote, or None; a damaged file counts as none and is written again."""
    try:
        record = Record(**json.loads((folder / f"{stem}.json").read_text()))
        images = np.load(folder / f"{stem}.npy", mmap_mode="r")
    except (OSError, ValueError, TypeError):
        return None
    return (images, record) if len(images) == len(record.keys) == len(record.captions) else None
