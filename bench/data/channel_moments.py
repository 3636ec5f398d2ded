"""Mean and deviation of latents, from sums over parts that add up to those of the whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ChannelMoments:
    """Sums over values: their ``count``, and for each channel their ``total`` and the total of their ``squares``; of values
    that are distributions those that are expected."""

    count: int
    total: tuple[float, ...]
    squares: tuple[float, ...]

    @classmethod
    def of(cls, values: NDArray[Any], deviations: NDArray[Any] | None = None) -> ChannelMoments:
        """Of ``[n, c, h, w]``; with standard deviations of that shape the values are means."""
        wide = values.astype(np.float64)
        squares = np.square(wide)
        if deviations is not None:
            squares += np.square(deviations.astype(np.float64))
        sums = wide.sum((0, 2, 3)), squares.sum((0, 2, 3))
        return cls(wide[:, 0].size, *(tuple(map(float, each)) for each in sums))

    @classmethod
    def sum(cls, parts: Sequence[ChannelMoments]) -> ChannelMoments:
        """Of all parts together."""
        total, squares = (
            tuple(map(math.fsum, zip(*sums, strict=True)))
            for sums in ([p.total for p in parts], [p.squares for p in parts])
        )
        return cls(sum(p.count for p in parts), total, squares)

    @property
    def channels(self) -> tuple[list[float], list[float]]:
        """Mean and deviation of each channel."""
        means = [t / self.count for t in self.total]
        spread = [
            math.sqrt(max(0.0, q / self.count - m * m)) for q, m in zip(self.squares, means, strict=True)
        ]
        return means, spread

    @property
    def whole(self) -> tuple[float, float]:
        """Mean and deviation of all values."""
        count = self.count * len(self.total)
        mean = math.fsum(self.total) / count
        return mean, math.sqrt(max(0.0, math.fsum(self.squares) / count - mean * mean))
