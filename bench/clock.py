"""Seconds of steps, alone and in alternation."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from bench.graph import WARM_UP


def alternate(one: Callable[[], None], other: Callable[[], None]) -> tuple[float, float]:
    """Median seconds of two functions called in turn, after turns that do not count: 3 to 15 turns, or 2 seconds of them."""
    for _ in range(WARM_UP + 1):
        one()
        other()
    times: list[tuple[float, float]] = []
    while len(times) < 3 or (len(times) < 15 and sum(map(sum, times)) < 2.0):
        times.append((seconds(one), seconds(other)))
    first, second = (statistics.median(column) for column in zip(*times, strict=True))
    return first, second


def seconds(function: Callable[[], None]) -> float:
    """Seconds of one call, work that a GPU still has to do included."""
    started = time.perf_counter()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    elif torch.backends.mps.is_available():
        torch.mps.synchronize()
    return time.perf_counter() - started
