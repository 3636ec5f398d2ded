"""Parts of parameters: together they are all of them, and any number is made of any other."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bench.models.part import Part

SHAPES = [(6, 4), (1, 12), (3,), (5, 7), (8, 3, 3)]
WHOLE = torch.arange(sum(map(math.prod, SHAPES))).float()


def row_of(part: Part, rows: dict[Part, Tensor]) -> Tensor:
    """The row of a part, made of those of others."""
    sizes = [math.prod(s.stop - s.start for s in part.slices(shape)) for shape in SHAPES]
    found = torch.full((sum(sizes),), -1.0)
    for other, row in rows.items():
        part.take(found, row, other, SHAPES)
    return found


def parts(count: int) -> list[Part]:
    return [Part(rank, count) for rank in range(count)]


def test_the_only_part_is_the_whole() -> None:
    assert torch.equal(row_of(Part(), {Part(): WHOLE}), WHOLE)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_each_number_is_in_one_part(count: int) -> None:
    rows = {part: row_of(part, {Part(): WHOLE}) for part in parts(count)}
    assert torch.cat([*rows.values()]).sort().values.equal(WHOLE)
    for part, row in rows.items():
        divided = [math.prod(shape) for shape in SHAPES if part.axis(shape) is not None]
        assert len(row) == sum(divided) // count + (part.rank == 0) * (len(WHOLE) - sum(divided))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("other", [1, 2, 3, 4])
def test_a_part_is_made_of_any_others(count: int, other: int) -> None:
    rows = {part: row_of(part, {Part(): WHOLE}) for part in parts(other)}
    for part in parts(count):
        assert torch.equal(row_of(part, rows), row_of(part, {Part(): WHOLE}))


def test_a_slice_is_along_the_first_axis_that_divides() -> None:
    assert Part(1, 4).slices((6, 8)) == (slice(0, 6), slice(2, 4))
    assert Part(0, 4).slices((3, 5)) == (slice(0, 3), slice(0, 5))
    assert Part(1, 4).slices((3, 5)) == (slice(0, 0), slice(0, 5))
