"""Signed distances of the six shapes, and their coverage of pixels (anti-aliasing by distance).

Frame units: the picture spans ``[0, 1]`` in x (right) and y (down). ``x, y`` below are relative to the
shape's centre, ``r`` is its half extent: every shape lies within ``|x| <= r, |y| <= r``. Negative is inside.
Only ``+ - * abs min max sqrt`` are used, which IEEE 754 rounds the same on every platform.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Distance = Callable[[Array, Array, Array], Array]

SQUARE = 0.88
"""Half side of the square over ``r``: its area then is the circle's."""
BAR = 0.45
"""Half height of the bar over ``r``."""
ARM = 0.34
"""Half width of the cross's arms over ``r``."""
RING = 0.30
"""Half width of the ring's band over ``r``."""


def circle(x: Array, y: Array, r: Array) -> Array:
    """``sqrt(x^2 + y^2) - r``."""
    d: Array = np.sqrt(x * x + y * y) - r
    return d


def square(x: Array, y: Array, r: Array) -> Array:
    """``max(|x|, |y|) - 0.88 r`` (exact but beyond the corners)."""
    d: Array = np.maximum(np.abs(x) - SQUARE * r, np.abs(y) - SQUARE * r)
    return d


def triangle(x: Array, y: Array, r: Array) -> Array:
    """Pointing up: tip ``(0, -r)``, base from ``(-r, r)`` to ``(r, r)``; the largest of three half planes."""
    side = np.float32(1 / 5**0.5)
    d: Array = np.maximum(2 * side * np.abs(x) - side * (y + r), y - r)
    return d


def bar(x: Array, y: Array, r: Array) -> Array:
    """``max(|x| - r, |y| - 0.45 r)``: a lying rectangle."""
    d: Array = np.maximum(np.abs(x) - r, np.abs(y) - BAR * r)
    return d


def cross(x: Array, y: Array, r: Array) -> Array:
    """An upright plus: the union of two bars ``2r`` long and ``0.68 r`` wide."""
    ax, ay = np.abs(x), np.abs(y)
    d: Array = np.minimum(np.maximum(ax - r, ay - ARM * r), np.maximum(ax - ARM * r, ay - r))
    return d


def ring(x: Array, y: Array, r: Array) -> Array:
    """``||(x, y)| - 0.7 r| - 0.3 r``: outer radius ``r``, hole of radius ``0.4 r``."""
    d: Array = np.abs(np.sqrt(x * x + y * y) - (1 - RING) * r) - RING * r
    return d


DISTANCES: dict[str, Distance] = {
    "circle": circle,
    "square": square,
    "triangle": triangle,
    "bar": bar,
    "cross": cross,
    "ring": ring,
}


def coverage(shape: str, cx: Array, cy: Array, r: Array, resolution: int) -> Array:
    """The share of each pixel that ``n`` copies of a shape cover: ``clip(1/2 - distance in pixels, 0, 1)``.

    Args:
        shape: a key of :data:`DISTANCES`.
        cx, cy, r: centres and half extents in frame units, each ``[n]``.
        resolution: pixels per side.

    Returns:
        float32 ``[n, resolution, resolution]`` (row, column).
    """
    grid = ((np.arange(resolution) + 0.5) / resolution).astype(np.float32)
    x = grid[None, None, :] - cx.astype(np.float32)[:, None, None]
    y = grid[None, :, None] - cy.astype(np.float32)[:, None, None]
    d = DISTANCES[shape](x, y, r.astype(np.float32)[:, None, None])
    d *= np.float32(-resolution)
    d += np.float32(0.5)
    return np.clip(d, 0, 1, out=d)
