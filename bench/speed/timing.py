"""One line of the table, and how two things are timed against each other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Row:
    """One line: a plain fact ``ours`` with its ``unit``, or a comparison with ``other``.

    A comparison holds the medians of both, and ``ratio``, the median of the paired ratios ours / other.
    """

    part: str
    what: str
    ours: float
    unit: str
    other: float | None = None
    ratio: float | None = None
    against: str = ""
    note: str = ""


@dataclass(frozen=True)
class Paired:
    """Two things timed in alternation: medians in milliseconds, and the median of the paired ratios ours / other."""

    ours: float
    other: float
    ratio: float

    def row(self, part: str, what: str, against: str, note: str = "") -> Row:
        """The comparison as a line, in milliseconds."""
        return Row(part, what, self.ours, "ms", self.other, self.ratio, against, note)


def pair(
    ours: Callable[[], Any], other: Callable[[], Any], repeats: int, warmups: int = 2, calls: int = 1
) -> Paired:
    """Time ``ours`` and ``other`` in turn ``repeats`` times, after ``warmups`` turns that do not count.

    One timing is of ``calls`` calls in a row, so that a GPU may queue them as it does in use; times are of one call.
    """
    for _ in range(warmups):
        ours()
        other()
    times = [(clocked(ours, calls), clocked(other, calls)) for _ in range(repeats)]
    mine, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    return Paired(mine, theirs, statistics.median(a / b for a, b in times))


def clocked(function: Callable[[], Any], calls: int = 1) -> float:
    """Milliseconds of one of ``calls`` calls in a row, work that a GPU still has to do included."""
    synchronise()
    started = time.perf_counter()
    for _ in range(calls):
        function()
    synchronise()
    return 1000 * (time.perf_counter() - started) / calls


def synchronise() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def release() -> None:
    """Forget compiled graphs and give the GPU's cached memory back, before something of another size is timed."""
    torch.compiler.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
