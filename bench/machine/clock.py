"""Seconds of steps, alone and in alternation."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from bench.machine.graph import WARM_UP


@dataclass(frozen=True)
class Timed:
    """Median seconds of a call, and their excess over the fastest as a fraction of it: near 0 on a quiet machine."""

    seconds: float
    spread: float


def alternate(*functions: Callable[[], object]) -> tuple[Timed, ...]:
    """Time functions in turn, after turns that do not count: 3 to 15 turns, or 2 seconds of them."""
    for _ in range(WARM_UP + 1):
        for function in functions:
            function()
    turns: list[list[float]] = []
    while len(turns) < 3 or (len(turns) < 15 and sum(map(sum, turns)) < 2.0):
        turns.append([seconds(function) for function in functions])
    return tuple(map(timed, zip(*turns, strict=True)))


def timed(times: tuple[float, ...]) -> Timed:
    """The median of some times, and their spread."""
    median, fastest = statistics.median(times), min(times)
    return Timed(median, median / fastest - 1 if fastest > 0 else 0.0)


def seconds(function: Callable[[], object]) -> float:
    """Seconds of one call, work that a GPU still has to do included."""
    started = time.perf_counter()
    function()
    synchronise()
    return time.perf_counter() - started


def synchronise() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    elif torch.backends.mps.is_available():
        torch.mps.synchronize()
