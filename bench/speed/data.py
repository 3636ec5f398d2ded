"""``data``: seconds to draw and render 20,000 scenes of ``shapes``."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from functools import partial

import numpy as np

from bench.data import shapes
from bench.speed.options import Plan
from bench.speed.timing import Row, clocked


def rows(plan: Plan) -> Iterator[Row]:
    """A fact for each resolution."""
    count = 200 if plan.tiny else 20_000
    for pixels in (16, 32):
        times = [clocked(partial(render, count, pixels)) for _ in range(plan.turns("data"))]
        yield Row("data", f"render {count:,} shapes at {pixels} px", statistics.median(times) / 1000, "s")


def render(count: int, pixels: int) -> None:
    """Draw and render scenes 0 .. count - 1."""
    shapes.render(shapes.scenes(np.arange(count)), pixels)
