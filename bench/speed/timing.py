"""One line of the table, and how two things are timed against each other."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from bench.machine.clock import seconds, synchronise

WIDTH = 72
"""Columns of what a line measures."""
HEADING = f"{'':{WIDTH}}  {'ours':>10} {'other':>10} {'ratio':>6}  ours / other; unit; against"


@dataclass(frozen=True)
class Row:
    """One line: a plain fact ``ours`` with its ``unit``, or a comparison with ``other``.

    A comparison holds the medians of both, and ``ratio``, the median of the paired ratios ours / other.
    """

    what: str
    ours: float
    unit: str
    other: float | None = None
    ratio: float | None = None
    against: str = ""
    note: str = ""
    part: str = ""

    def __str__(self) -> str:
        other, ratio = (f"{v:.4g}" if v is not None else "" for v in (self.other, self.ratio))
        rest = "; ".join(filter(None, (self.unit, self.against, self.note)))
        return f"{f'{self.part}: {self.what}':{WIDTH}}  {self.ours:10.4g} {other:>10} {ratio:>6}  {rest}"


@dataclass(frozen=True)
class Paired:
    """Two things timed in alternation: medians in milliseconds, and the median of the paired ratios ours / other."""

    ours: float
    other: float
    ratio: float

    def row(self, what: str, against: str, note: str = "") -> Row:
        """The comparison as a line, in milliseconds."""
        return Row(what, self.ours, "ms", self.other, self.ratio, against, note)


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
    mine, theirs = map(statistics.median, zip(*times, strict=True))
    return Paired(mine, theirs, statistics.median(a / b for a, b in times))


def clocked(function: Callable[[], Any], calls: int = 1) -> float:
    """Milliseconds of one of ``calls`` calls in a row, work that a GPU still has to do included."""
    synchronise()
    return 1000 * seconds(repeated(function, calls)) / calls


def repeated(function: Callable[[], Any], times: int) -> Callable[[], None]:
    """``times`` calls as one."""

    def calls() -> None:
        for _ in range(times):
            function()

    return calls


def release() -> None:
    """Forget compiled graphs and give the GPU's cached memory back, before something of another size is timed."""
    torch.compiler.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
