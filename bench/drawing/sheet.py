"""Images side by side on one sheet."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from flowbench._core import atomic
from flowbench._core.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

SIDE = 128
"""Images are enlarged by a whole number to about so many pixels."""


def sheet(images: NDArray[np.uint8], columns: int | None = None) -> Image:
    """Put images ``[n, H, W, 3]`` side by side, ``columns`` in a row or by default in rows of about a square, enlarged by a
    whole number without smoothing.

    Raises:
        UserError: anything else than such images, at least one.
    """
    import numpy as np
    from PIL import Image

    images = np.asarray(images)
    if images.dtype != np.uint8 or images.shape[3:] != (3,) or not images.size:
        found = f"{images.dtype} {list(images.shape)}"
        raise UserError(f"sheet(images): uint8 [n, H, W, 3] is wanted, as a model draws them, not {found}")
    count, height, width, _ = images.shape
    columns = columns or min(count, max(8, math.ceil(math.sqrt(count))))
    rows, scale = math.ceil(count / columns), max(1, SIDE // width)
    gap = 1 if scale == 1 else scale // 4 or 1
    high, wide = height * scale + gap, width * scale + gap
    whole = np.full((rows * high - gap, columns * wide - gap, 3), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = high * (i // columns), wide * (i % columns)
        large = image.repeat(scale, axis=0).repeat(scale, axis=1)
        whole[top : top + high - gap, left : left + wide - gap] = large
    return Image.fromarray(whole)


def write(images: NDArray[np.uint8], path: Path, columns: int | None = None) -> None:
    """Write a :func:`sheet` of images as a PNG file."""
    made = sheet(images, columns)
    atomic.write_whole(path, lambda temporary: made.save(temporary, "PNG"))
