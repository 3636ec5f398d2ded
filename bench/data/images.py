"""``images:PATH``: your own captioned images, decoded once into a cached uint8 array."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bench.data import sources
from bench.data.dataset import Data, Split, build, hash_split
from samplers.errors import UserError

RECIPE = "srgb-white-centercrop-lanczos-1"
"""How an image becomes an array; part of the cache's key, so a new recipe decodes anew."""

_CHUNK = 512  # encoded images held in memory at once


@dataclass(frozen=True)
class Decoded:
    """All usable items of a source: pixels uint8 ``[N, 3, R, R]``, and what was left out of how many."""

    pixels: NDArray[np.uint8]
    keys: list[str]
    captions: list[str]
    skipped: list[str]

    def check(self, place: str, max_skipped: float) -> None:
        """Raises UserError if more than the share ``max_skipped`` of the items is corrupt or caption-less."""
        total = len(self.keys) + len(self.skipped)
        if len(self.skipped) > max_skipped * total:
            raise UserError(
                f"images:{place}: {len(self.skipped)} of {total} items are corrupt or have no caption "
                f"(at most {max_skipped:.1%} may), the first: {'; '.join(self.skipped[:3])}"
            )


def load(
    path: str, resolution: int, train: int, validation: int, cache: str | Path | None, max_skipped: float
) -> Data:
    """Load and split the images at ``path``; see :func:`bench.data.load`."""
    source = sources.find(path)
    key = source.fingerprint()[:16]
    stem = re.sub(r"[^\w.-]+", "_", f"{source.name}-{resolution}-{RECIPE}-{key}")
    folder = cache_folder(cache)
    decoded = _read_cache(folder, stem)
    fresh = decoded is None
    if decoded is None:
        decoded = _decode_all(source, resolution)
    decoded.check(path, max_skipped)
    if fresh:
        _write_cache(folder, stem, decoded)
    first, second = (
        Split(np.ascontiguousarray(decoded.pixels[side]), tuple(decoded.captions[i] for i in side))
        for side in hash_split(decoded.keys, train, validation)
    )
    return build(f"images:{source.name}", (first, second), decoded.skipped)


def decode(data: bytes, resolution: int) -> NDArray[np.uint8]:
    """One encoded image to uint8 ``[3, resolution, resolution]``.

    Upright by its EXIF tag, RGB on white where transparent, the central square, Lanczos with antialiasing.

    Raises:
        OSError, SyntaxError, ValueError, Image.DecompressionBombError: the image is corrupt or too large.
    """
    with Image.open(io.BytesIO(data)) as opened:
        picture = _to_rgb(ImageOps.exif_transpose(opened))
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))  # resize(box=...) would see beyond its box
    small = square.resize((resolution, resolution), Image.Resampling.LANCZOS)
    return np.asarray(small).transpose(2, 0, 1)


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):  # 16-bit gray, which PIL's own conversion clips to white
        deep = np.clip(np.rint(np.asarray(picture, np.float64) / 257), 0, 255)
        picture = Image.fromarray(deep.astype(np.uint8))
    if "transparency" in picture.info or picture.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def _attempt(item: sources.Item, resolution: int) -> NDArray[np.uint8] | str:
    """The decoded item, or why it is left out."""
    if item.problem:
        return f"{item.key}: {item.problem}"
    try:
        return decode(item.read(), resolution)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = str(error) if "BytesIO" not in str(error) else "not a known image format"
        return f"{item.key}: {reason or type(error).__name__}"


def _decode_all(source: sources.Source, resolution: int) -> Decoded:
    items = source.items()
    pixels = np.empty((len(items), 3, resolution, resolution), np.uint8)
    kept: list[sources.Item] = []
    skipped: list[str] = []
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:  # PIL decodes outside the lock
        for start in range(0, len(items), _CHUNK):
            chunk = items[start : start + _CHUNK]
            for item, result in zip(chunk, pool.map(_attempt, chunk, [resolution] * len(chunk)), strict=True):
                if isinstance(result, str):
                    skipped.append(result)
                else:
                    pixels[len(kept)] = result
                    kept.append(item)
    return Decoded(pixels[: len(kept)], [i.key for i in kept], [i.caption for i in kept], skipped)


def cache_folder(cache: str | Path | None) -> Path:
    """``cache`` itself, or the user's cache folder."""
    if cache is not None:
        return Path(cache).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flowbench"


def _read_cache(folder: Path, stem: str) -> Decoded | None:
    """What an earlier load wrote, or None; a damaged file counts as none and is written again."""
    try:
        record = json.loads((folder / f"{stem}.json").read_text())
        pixels = np.load(folder / f"{stem}.npy", mmap_mode="r")
        decoded = Decoded(pixels, record["keys"], record["captions"], record["skipped"])
    except (OSError, ValueError, KeyError):
        return None
    return decoded if len(decoded.pixels) == len(decoded.keys) == len(decoded.captions) else None


def _write_cache(folder: Path, stem: str, decoded: Decoded) -> None:
    """The array, then the record that makes it count; both appear whole."""
    record = {"keys": decoded.keys, "captions": decoded.captions, "skipped": decoded.skipped}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_whole(folder / f"{stem}.npy", lambda file: np.save(file, decoded.pixels))
        _write_whole(folder / f"{stem}.json", lambda file: file.write(json.dumps(record).encode()))
    except OSError as error:
        raise UserError(
            f"the image cache {folder} cannot be written ({error.strerror}); "
            "set XDG_CACHE_HOME to a folder that can be"
        ) from None


def _write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
