"""``images:PATH``: your own captioned images, decoded once into a cached uint8 array."""

from __future__ import annotations

import hashlib
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.data import pixels, sources
from bench.data.dataset import Dataset, Picked, Split, build, hash_split
from flowbench._core import atomic
from flowbench._core.errors import UserError

_CHUNK = 256  # encoded images held in memory at once
LEFT_SECONDS = 86400.0
"""An unfinished file of the cache that nobody has touched for so long was left by a command that was killed."""


@dataclass(frozen=True)
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
        if len(self.skipped) > max_skipped * total:
            raise UserError(
                f"images:{place}: {len(self.skipped)} of {total} items are corrupt or have no caption "
                f"(at most {max_skipped:.1%} may), the first: {'; '.join(self.skipped[:3])}"
            )

    def split(self, images: NDArray[np.uint8], chosen: list[int]) -> Split:
        """The pictures ``chosen``, in the order of their keys, read when they are asked for."""
        rows = sorted(chosen, key=lambda i: self.keys[i])
        captions = tuple(tuple(self.captions[i]) for i in rows)
        several = captions if any(len(c) > 1 for c in captions) else ()
        return Split(Picked(images, np.array(rows)), tuple(c[0] for c in captions), alternatives=several)


def load(
    path: str, resolution: int, train: int, validation: int, cache: str | Path | None, max_skipped: float
) -> Dataset:
    """Load and split the images at ``path``; see :func:`bench.data.load`.

    A picture's side of the split depends on the bytes of its file only, so a copy under another name is on the same side;
    copies are one picture with the captions of all.
    """
    source = sources.find(path)
    key = source.fingerprint()[:16]
    stem = re.sub(r"[^\w.-]+", "_", f"{source.name}-{resolution}-{pixels.RECIPE}-{key}")
    folder = cache_folder(cache)
    decoded = _read_cache(folder, stem)
    fresh = decoded is None
    if decoded is None:
        decoded = _decode_all(source.read(), resolution)
    images, record = decoded
    record.check(path, max_skipped)
    if fresh:
        _write_cache(folder, stem, images, record)
    sides = hash_split(record.keys, train, validation)
    first, second = (record.split(images, side) for side in sides)
    notes = list(record.notes)
    if record.copies:
        notes.append(
            f"{record.copies:,} items show a picture that is there already, and add no more than captions"
        )
    return build(f"images:{sources.shown(source.name)}", (first, second), skipped=record.skipped, notes=notes)


def captions(
    path: str, resolution: int, train: int, validation: int, cache: str | Path | None, max_skipped: float
) -> list[str]:
    """The captions at ``path``, without decoding more than `_CHUNK` pictures. Raises the UserError of :func:`load`: of few
    pictures any, of many what their names and captions tell."""
    contents = sources.find(path).read()
    if len(contents.items) <= _CHUNK:
        return load(path, resolution, train, validation, cache, max_skipped).train.texts()
    usable = [item for item in contents.items if not item.problem]
    skipped = [f"{item.name}: {item.problem}" for item in contents.items if item.problem]
    Record([item.name for item in usable], [], 0, skipped, []).check(path, max_skipped)
    return [caption for item in usable for caption in item.captions]


def _attempt(item: sources.Item, resolution: int) -> tuple[str, NDArray[np.uint8]] | str:
    """The sha256 of the item's file and its pixels, or why it is left out."""
    if item.problem:
        return f"{item.name}: {item.problem}"
    try:
        data = item.read()
        return hashlib.sha256(data).hexdigest(), pixels.decode(data, resolution)
    except (
        Exception
    ) as error:  # every format of Pillow has errors of its own, and one item may not stop the others
        reason = str(error) if "BytesIO" not in str(error) else "not a known image format"
        return f"{item.name}: {reason or type(error).__name__}"


def _decode_all(contents: sources.Contents, resolution: int) -> tuple[NDArray[np.uint8], Record]:
    """The distinct pictures, uint8 ``[N, 3, R, R]``, in the order in which they are met."""
    items, record = contents.items, Record([], [], 0, [], contents.notes)
    images = np.empty((len(items), 3, resolution, resolution), np.uint8)
    place: dict[bytes, int] = {}
    with ThreadPoolExecutor(min(16, len(os.sched_getaffinity(0)))) as pool:  # PIL decodes outside the lock
        for start in range(0, len(items), _CHUNK):
            chunk = items[start : start + _CHUNK]
            for item, result in zip(chunk, pool.map(_attempt, chunk, [resolution] * len(chunk)), strict=True):
                if isinstance(result, str):
                    record.skipped.append(result)
                    continue
                key, picture = result
                at = place.setdefault(hashlib.sha256(picture.tobytes()).digest(), len(record.keys))
                if at == len(record.keys):
                    images[at] = picture
                    record.keys.append(key)
                    record.captions.append(list(item.captions))
                else:
                    record.keys[at] = min(record.keys[at], key)
                    record.captions[at] = list(dict.fromkeys([*record.captions[at], *item.captions]))
    found = len(record.keys)
    copies = len(items) - len(record.skipped) - found
    return images[:found], Record(record.keys, record.captions, copies, record.skipped, record.notes)


def cache_folder(cache: str | Path | None) -> Path:
    """``cache`` itself, or the user's cache folder."""
    if cache is not None:
        return Path(cache).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flowbench"


def _read_cache(folder: Path, stem: str) -> tuple[NDArray[np.uint8], Record] | None:
    """What an earlier load wrote, or None; a damaged file counts as none and is written again."""
    try:
        record = Record(**json.loads((folder / f"{stem}.json").read_text()))
        images = np.load(folder / f"{stem}.npy", mmap_mode="r")
    except (OSError, ValueError, TypeError):
        return None
    return (images, record) if len(images) == len(record.keys) == len(record.captions) else None


def _write_cache(folder: Path, stem: str, images: NDArray[np.uint8], record: Record) -> None:
    """The array, then the record that makes it count; both appear whole. What other commands left unfinished is swept."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        atomic.sweep(folder, LEFT_SECONDS)
        atomic.write_whole(folder / f"{stem}.npy", lambda file: np.save(file, images))
        atomic.write_json(folder / f"{stem}.json", asdict(record))
    except OSError as error:
        raise UserError(
            f"the image cache {folder} cannot be written ({error.strerror}); "
            "set XDG_CACHE_HOME to a folder that can be"
        ) from None
