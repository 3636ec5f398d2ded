"""Processes that take training steps together: E that share the device, or one for its memory or its threads."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from unittest.mock import patch

import torch

from bench.machine.clock import synchronise
from bench.machine.device import keep_freed_memory
from bench.machine.matmul import fast_products
from bench.speed.sizes import Size, our_step
from flowbench._core.errors import UserError

WARMUPS = 2


@dataclass(frozen=True)
class Task:
    """What a process steps, with how many threads."""

    size: Size
    members: int
    device: str
    threads: int


@contextmanager
def children(
    size: Size,
    count: int,
    members: int,
    device: torch.device,
    steps: int,
    threads: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Callable[[], list[float]]]:
    """Start ``count`` processes with ``members`` members each, and end them after the block.

    Yields a function that lets all take ``steps`` steps at once; it returns when the last has ended, with the peak memory of
    each in bytes. They are warm by then. Each gets its part of the processor's cores, one at least, or ``threads``;
    ``environment`` adds to theirs. Raises :class:`UserError` if one ends early.
    """
    task = Task(size, members, device.type, threads or max(1, torch.get_num_threads() // count))
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        pools = [stack.enter_context(ProcessPoolExecutor(1, spawn)) for _ in range(count)]

        def run(steps: int = steps) -> list[float]:
            found = [pool.submit(stepped, task, steps) for pool in pools]
            if early := sum(one.exception() is not None for one in found):
                raise UserError(
                    f"{early} of {count} processes ended early, probably for want of memory: ask for fewer members "
                    "with --members"
                )
            return [one.result() for one in found]

        # OpenMP reads these when a process loads torch
        with patch.dict(os.environ, {**(environment or {}), "OMP_NUM_THREADS": str(task.threads)}):
            run(0)
        yield run


def stepped(task: Task, count: int) -> float:
    """Take steps, in a process of its own; returns its peak memory in bytes."""
    step = warm(task)
    for _ in range(count):
        step()
    synchronise()
    return peak_bytes()


@cache
def warm(task: Task) -> Callable[[], None]:
    """The step of a process, after some that do not count."""
    torch.set_num_threads(task.threads)
    keep_freed_memory()
    fast_products(torch.device(task.device))
    step = our_step(task.size, task.members, torch.device(task.device))
    for _ in range(WARMUPS):
        step()
    return step


def peak_bytes() -> float:
    """Peak resident memory of this process, without that of the one which started it (``ru_maxrss`` inherits it)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * float(status.partition("VmHWM:")[2].split()[0])
