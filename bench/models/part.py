"""Which part of every parameter a process keeps where several divide them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

Shape = tuple[int, ...]
"""Of a parameter, without its member axis."""


@dataclass(frozen=True)
class Part:
    """The part ``rank`` of ``count`` equal ones: of each parameter a slice along the first axis that divides, and all of it
    in the first part where none does. The only one of one part is the whole."""

    rank: int = 0
    count: int = 1

    def axis(self, shape: Sequence[int]) -> int | None:
        """The axis along which a parameter is divided."""
        return next((i for i, size in enumerate(shape) if size % self.count == 0), None)

    def slices(self, shape: Shape) -> tuple[slice, ...]:
        """Where this part lies in a parameter."""
        ends, axis = list(shape), self.axis(shape)
        starts = [0] * len(ends)
        if axis is not None:
            each = shape[axis] // self.count
            starts[axis], ends[axis] = self.rank * each, (self.rank + 1) * each
        elif self.rank:
            ends[0] = 0
        return tuple(map(slice, starts, ends))

    def views(self, row: Tensor, shapes: Sequence[Shape]) -> list[Tensor]:
        """A row ``[P / count]`` of this part as slices of parameters of these ``shapes``."""
        sizes = [tuple(s.stop - s.start for s in self.slices(shape)) for shape in shapes]
        return [
            part.view(size) for part, size in zip(row.split([*map(math.prod, sizes)]), sizes, strict=True)
        ]

    def take(self, row: Tensor, other: Tensor, part: Part, shapes: Sequence[Shape]) -> None:
        """Copy into a ``row`` of this part what ``other``, a row of another ``part``, has of it."""
        views = zip(shapes, self.views(row, shapes), part.views(other, shapes), strict=True)
        for shape, mine, theirs in views:
            here, there = self.slices(shape), part.slices(shape)
            both = [(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(here, there, strict=True)]
            if all(start < stop for start, stop in both):
                mine[within(both, here)] = theirs[within(both, there)]


def within(bounds: Sequence[tuple[int, int]], slices: Sequence[slice]) -> tuple[slice, ...]:
    """Bounds in a parameter as slices of a part of it that lies at ``slices``."""
    pairs = zip(bounds, slices, strict=True)
    return tuple(slice(start - own.start, stop - own.start) for (start, stop), own in pairs)
