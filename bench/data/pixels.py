"""One encoded picture of any kind to a small RGB square, in bounded memory."""

from __future__ import annotations

import io
import warnings
from functools import cache
from threading import BoundedSemaphore

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bench.data.sources import Unreadable

RECIPE = "srgb-white-centercrop-lanczos-2"
"""How an image becomes an array; part of the cache's key, so a new recipe decodes anew."""
MOST_PIXELS = 1 << 26
"""Pictures with more pixels are left out; JPEG are read at a half, a quarter or an eighth of their size first."""

warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is lower

_LARGE = 1 << 22
_SHORT_SIDE = 1024  # what a large JPEG keeps at least: the largest resolution, so that no result depends on a smaller one
_large_ones = BoundedSemaphore(2)


def decode(data: bytes, resolution: int) -> NDArray[np.uint8]:
    """One encoded image to uint8 ``[3, resolution, resolution]``.

    Upright by its EXIF tag, RGB on white where transparent, the central square, Lanczos with antialiasing; the first frame
    of an animation.

    Raises:
        Unreadable: it has too many pixels, or pixels whose white is not known.
        Exception: Pillow cannot read it; every format has errors of its own.
    """
    with Image.open(io.BytesIO(data), formats=_formats()) as opened:
        if opened.width * opened.height > _LARGE:
            opened.draft(None, (_SHORT_SIDE, _SHORT_SIDE))  # only JPEG has it
        pixels = opened.width * opened.height
        if pixels > MOST_PIXELS:
            raise Unreadable(f"it has {opened.width} x {opened.height} pixels, more than {MOST_PIXELS:,}")
        if pixels > _LARGE:
            with _large_ones:
                return _square(opened, resolution)
        return _square(opened, resolution)


@cache
def _formats() -> tuple[str, ...]:
    """Pillow's formats of pixels, without those that run other programs or only identify a file."""
    Image.init()
    return tuple(name for name in Image.OPEN if name not in ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"))


def _square(opened: Image.Image, resolution: int) -> NDArray[np.uint8]:
    side = min(opened.size)
    left, top = (opened.width - side) // 2, (opened.height - side) // 2
    if opened.getexif().get(0x0112, 1) in (1, None):
        picture = _rgb(opened.crop((left, top, left + side, top + side)), opened)
    else:
        turned = ImageOps.exif_transpose(opened)
        left, top = (turned.width - side) // 2, (turned.height - side) // 2
        picture = _rgb(turned.crop((left, top, left + side, top + side)), opened)
    small = picture.resize((resolution, resolution), Image.Resampling.LANCZOS)
    return np.asarray(small).transpose(2, 0, 1)


def _rgb(picture: Image.Image, opened: Image.Image) -> Image.Image:
    """On white where it is transparent. ``opened`` has the file's description of its pixels."""
    if picture.mode.startswith(("I", "F")):
        return Image.fromarray(_eight_bits(np.asarray(picture), opened)).convert("RGB")
    if "transparency" in picture.info or picture.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def _eight_bits(values: NDArray[np.generic], opened: Image.Image) -> NDArray[np.uint8]:
    """Deep gray to 0..255: 12 and 16 bits by their largest number, floats from 0 to 1. Pillow's own conversion clips."""
    tags = getattr(opened, "tag_v2", {})
    if opened.mode == "F":
        low, high = float(np.min(values)), float(np.max(values))
        if not (low >= 0 and high <= 1):
            raise Unreadable(
                f"its float pixels run from {low:.4g} to {high:.4g}, and only 0 to 1 has a known white"
            )
        white = 1.0
    elif opened.mode == "I" and opened.format not in (
        "PNG",
        "PPM",
    ):  # in these two it is 16 bits in a wider type
        raise Unreadable("its white is not known: integer pixels of 32 bits, or with a sign")
    else:
        white = 4095.0 if tags.get(258) == (12,) else 65535.0
    share = np.clip(values.astype(np.float64) / white, 0, 1)
    return np.rint(255 * (1 - share if tags.get(262) == 0 else share)).astype(np.uint8)
