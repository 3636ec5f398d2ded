"""How many cores a worker can have: by affinity, its control group's quota, and the load of other processes. No torch.

Threads that wait for each other at every operation are far slower than one thread as soon as one of them has no core of its
own: with one other process on two cores, two threads that wait actively take 20 to 30 times as long as one.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.machine import cgroup
from flowbench._core.terminal import many

STAT = Path("/proc/stat")
TICKS = os.sysconf("SC_CLK_TCK")
WINDOW = 0.25
"""Seconds over which load is measured."""
SLACK = 0.25
"""A core counts as free if others use no more than this fraction of it."""
AUTO = "FLOWBENCH_THREADS"
"""Environment variable that is ``auto`` where a worker may take fewer threads than ``OMP_NUM_THREADS``."""
PASSIVE = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}
"""A thread that waits sleeps: GNU's OpenMP, which torch ships for Linux, reads the first; Intel's and LLVM's both."""


@dataclass(frozen=True)
class Cores:
    """Cores that the process may run on, its quota in cores (None: no quota), and cores that no other process uses."""

    allowed: int
    quota: float | None
    free: float

    @property
    def usable(self) -> int:
        """Threads that have a core of their own, at least one."""
        quota = self.allowed if self.quota is None else self.quota
        return max(1, min(self.allowed, math.floor(quota + 0.01), math.floor(self.free + SLACK)))

    def __str__(self) -> str:
        shown, busy = many(self.allowed, "core"), self.allowed - self.free
        if self.quota is not None and self.quota < self.allowed:
            shown += f", a quota of {self.quota:.3g}"
        return shown + f", other processes use {busy:.1f}" * (busy > SLACK)

    def facts(self) -> dict[str, Any]:
        """As JSON holds them."""
        return {name: value if value is None else round(value, 2) for name, value in asdict(self).items()}


class Load:
    """The use of this process's cores by others, from one look to the next."""

    def __init__(self, stat: Path = STAT) -> None:
        self.stat = stat
        self.last = self._read()

    def cores(self) -> Cores:
        """The cores as they were since the last look."""
        which, now, before = affinity(), self._read(), self.last
        self.last = now
        seconds = now[0] - before[0]
        busy = sum(now[2].get(core, 0.0) - before[2].get(core, 0.0) for core in which)
        others = max(0.0, busy - (now[1] - before[1])) / seconds if seconds > 0 else 0.0
        return Cores(len(which), quota(), max(0.0, len(which) - others))

    def _read(self) -> tuple[float, float, dict[int, float]]:
        """The time, the seconds that this process has computed, and the busy seconds of every core."""
        own = os.times()
        return time.monotonic(), own.user + own.system, busy_seconds(self.stat)


def affinity() -> set[int]:
    """The numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def busy_seconds(stat: Path) -> dict[int, float]:
    """Seconds since the start of the machine in which each core was not idle; none if the system does not count."""
    try:
        lines = stat.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    found = {}
    for name, *ticks in (line.split() for line in lines if line.startswith("cpu")):
        if name != "cpu":
            user, nice, system, _, _, *rest = map(int, ticks[:8])
            found[int(name[3:])] = (user + nice + system + sum(rest)) / TICKS
    return found


def look(seconds: float = WINDOW) -> Cores:
    """The cores, measured over a moment in which this process waits."""
    load = Load()
    time.sleep(seconds)
    return load.cores()


def most() -> int:
    """Threads that affinity and quota allow, whatever others do."""
    allowed = len(affinity())
    return Cores(allowed, quota(), allowed).usable


def quota() -> float | None:
    """Cores' worth of time of the control group; None without a limit."""
    found = cgroup.cores()
    return None if math.isinf(found) else found


def environment(workers: int, given: Mapping[str, str]) -> dict[str, str]:
    """Additions to the environment of each of several workers that share the cores; none if ``given`` sets the threads."""
    if "OMP_NUM_THREADS" in given:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, most() // workers)), AUTO: "auto"}
