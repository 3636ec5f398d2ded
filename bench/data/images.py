"""``images:PATH``: a user's own captioned images, decoded once into a uint8 array on disk and read from there."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.config.experiment import Images
from bench.data import drop_list
from bench.data.builder import Builder, register
from bench.data.caption_mix import ALIKE, mixed
from bench.data.dataset import Dataset, Picked, Rows, Split, build
from bench.data.decoding import CHUNK, Record, Skipped, Unfinished, decode_all
from bench.data.held_out import hash_split
from flowbench._core import atomic
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    from bench.data import pixels, sources
else:
    pixels, sources = lazy("bench.data.pixels"), lazy("bench.data.sources")

LEFT_SECONDS = 86400.0
"""An unfinished file of the cache that has not changed for so long was left by a command that was killed."""


MOST_SKIPPED = 0.05
"""The largest share of corrupt or caption-less items that is tolerated."""


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
            with _alone(folder) as alone:
                if not _read_cache(folder, stem):
                    unfinished = Unfinished.of(folder, stem, alone)
                    self._fill_cache(folder, stem, source.read(), resolution, unfinished)
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
        first, second = (split(record, decoded, [chosen[i] for i in side]) for side in sides)
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
        """Without decoding more than `CHUNK` pictures. Raises the UserError of :meth:`load`: of few pictures any, of many
        what their names and captions show."""
        contents = sources.find(self.path, self.second).read()
        if len(contents.items) <= CHUNK:
            return self.load(name, images).train.texts()
        usable = [item for item in contents.items if not item.problem]
        skipped = [f"{item.name}: {item.problem}" for item in contents.items if item.problem]
        Record([item.name for item in usable], skipped=skipped).check(self.path, self.max_skipped)
        return [caption for item in usable for caption in item.captions]

    def _fill_cache(
        self, folder: Path, stem: str, contents: sources.Contents, resolution: int, unfinished: Unfinished
    ) -> None:
        """Write the array, then the record that makes it count; both appear whole. A command that was stopped is continued;
        what others left unfinished is swept."""
        try:
            record = replace(decode_all(contents.items, resolution, unfinished), notes=contents.notes)
            record.check(self.path, self.max_skipped)
            unfinished.finish(folder / f"{stem}.npy")
            atomic.write_json(folder / f"{stem}.json", asdict(record))
            atomic.sweep(folder, LEFT_SECONDS)
        except OSError as error:
            unfinished.remove()
            raise _unwritable(folder, error) from None
        except Skipped:
            unfinished.remove()
            raise


@register("images(path,drop,mix,second)")
def images(path: str, drop: str = "", mix: float = ALIKE, second: str = "") -> Builder:
    """A folder or packed files of a user's own captioned images, but for those that a list of `bench.dedup` drops."""
    return Files(path, drop=Path(drop).expanduser() if drop else None, mix=mix, second=second)


def split(record: Record, images: Rows, chosen: list[int]) -> Split:
    """The pictures ``chosen``, in the order of their keys, read when they are asked for."""
    rows = sorted(chosen, key=lambda i: record.keys[i])
    captions = tuple(tuple(record.captions[i]) for i in rows)
    several = captions if any(len(c) > 1 for c in captions) else ()
    return Split(Picked(images, np.array(rows)), tuple(c[0] for c in captions), alternatives=several)


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
def _alone(folder: Path) -> Iterator[bool]:
    """Make the folder of a cache, and let one process at a time fill it: of several that begin together one decodes. Where a
    disk has no locks for folders, each does, which is what False is for."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        locked = False
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
            locked = True
        yield locked
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
