"""The threads of a worker that computes on the processor: as many as have cores of their own, and make steps faster.

``OMP_NUM_THREADS`` of the user stands. Else a worker begins with the threads that affinity, quota and load leave it
(:mod:`bench.machine.cores`), and keeps fewer where these are measured to be faster (:mod:`bench.training.tuning`). Should
other processes take the cores later, it continues with fewer threads and prints that: such a training agrees with an
undisturbed one up to rounding, and not bit for bit.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import torch

from bench.machine import cores
from flowbench._core.terminal import many

EVERY = 5.0
"""Seconds between looks at the load; two in a row must find it."""


class Threads:
    """How many threads there may be now; ``say`` takes a sentence when that changes."""

    def __init__(self, device: torch.device, say: Callable[[str], None] = lambda text: None) -> None:
        self.say, self.device = say, device
        self.auto = os.environ.get(cores.AUTO) == "auto" and device.type == "cpu"
        self.most = torch.get_num_threads()
        self.cores: cores.Cores | None = None
        self._measure()

    def _measure(self) -> None:
        """Look at the cores, and begin a new window of load."""
        self.cores = cores.look() if self.auto else None
        self.load, self.looked, self.short = cores.Load(), time.monotonic(), False

    def facts(self) -> dict[str, Any]:
        """Notes on the number of threads: the cores as they were last seen."""
        return {"cores": self.cores.facts()} if self.cores else {}

    def count(self) -> int | None:
        """The threads that compute now; None where the processor does not."""
        return torch.get_num_threads() if self.device.type == "cpu" else None

    def usable(self) -> int:
        """The threads that have cores now, by the last look."""
        return min(self.most, self.cores.usable) if self.cores else self.most

    def begin(self, count: int) -> None:
        """Take so many threads from here on, or fewer if there are no cores for them now."""
        if self.auto:
            self._measure()
            torch.set_num_threads(min(count, self.usable()))

    def as_before(self, count: int) -> int:
        """The threads with which a training continues that had ``count``: as many, for the same bits, if there are cores."""
        if self.auto and (self.cores is None or count > self.cores.usable):
            self.cores = cores.look()
            return min(count, self.cores.usable)
        return count

    def look(self) -> None:
        """Called often while something is computed: fewer threads from now on if others have taken the cores."""
        now, count = time.monotonic(), torch.get_num_threads()
        if not self.auto or count == 1 or now - self.looked < EVERY:
            return
        self.looked, self.cores = now, self.load.cores()
        fewer = self.cores.usable
        if self.short and fewer < count:
            torch.set_num_threads(fewer)
            self.say(f"{many(fewer, 'thread')} instead of {count} from here on: {self.cores}")
        self.short = fewer < count and not self.short
