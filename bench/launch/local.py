"""Runs shares on this machine: one slot for each visible GPU, or parts of the cores. A slot that fails leaves the others.

Slots are told their GPU by ``CUDA_VISIBLE_DEVICES``, out of those that this command was given.
"""

from __future__ import annotations

import functools
import itertools
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from glob import glob

from bench.launch.codes import Ending
from bench.launch.supervisor import Supervisor
from bench.machine import cores
from bench.runfolder.failure import Failure
from bench.runfolder.submission import Execution, Submission
from flowbench._core.errors import UserError

Environment = dict[str, str]


def slots(execution: Execution) -> list[Environment]:
    """What each slot adds to the environment of its workers. Raises :class:`UserError` for more slots than cores."""
    gpus = visible_gpus() if execution.device in ("auto", "cuda") else []
    if gpus:
        count = execution.slots or len(gpus)
        threads = cores.environment(count, os.environ)
        return [threads | {"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} for i in range(count)]
    count, most = execution.slots or 1, cores.most()
    if count > most:
        raise UserError(f"--slots {count}: there are {most} cores here, choose at most {most}")
    return [cores.environment(count, os.environ) for _ in range(count)]


def on_gpu(execution: Execution) -> bool:
    """Whether workers compute on something else than the processor."""
    return execution.device != "cpu" and (execution.device != "auto" or bool(visible_gpus()))


def visible_gpus() -> list[str]:
    """The GPUs that this command may use, by the names that ``CUDA_VISIBLE_DEVICES`` knows them by."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        names = (name.strip() for name in given.split(","))
        return list(itertools.takewhile(lambda name: name not in ("", "-1"), names))  # as CUDA reads it
    if not (glob("/dev/nvidia[0-9]*") or os.path.exists("/dev/kfd")):
        return []
    return [str(i) for i in range(count_gpus())]


@functools.cache
def count_gpus() -> int:
    """How many GPUs torch sees, asked in a process of its own: a driver that has touched CUDA keeps some of its memory."""
    count = "import torch; print(torch.cuda.device_count())"
    done = subprocess.run([sys.executable, "-P", "-c", count], capture_output=True, text=True, check=False)
    return int(done.stdout.strip() or 0)


class Pool:
    """Slots that take one share after the other; canaries first."""

    def __init__(self, submission: Submission) -> None:
        self.submission = submission
        self.endings: dict[int, Ending] = {}
        self.failures: dict[int, Failure | None] = {}
        self.running: dict[int, Supervisor] = {}
        self.stopping: str | None = None
        self.threads: list[threading.Thread] = []

    def run(self, watch: Callable[[], None]) -> dict[int, Ending]:
        """Run all shares; ``watch`` is called a few times a second. Returns how each that was begun ended."""
        order = sorted(range(len(self.submission.shares)), key=lambda i: not self.submission.shares[i].canary)
        first = [i for i in order if self.submission.shares[i].canary]
        for part in (first, order[len(first) :]):
            self._run(part, watch)
        return self.endings

    def begun(self) -> set[int]:
        """The shares that were begun."""
        return {*list(self.running), *list(self.endings)}

    @property
    def several(self) -> bool:
        """Whether there is more than one share."""
        return len(self.submission.shares) > 1

    def stop(self, reason: str) -> None:
        """Ask every worker to save and stop, and begin nothing more."""
        self.stopping = self.stopping or reason
        for supervisor in list(self.running.values()):
            supervisor.stop(reason)

    def _run(self, shares: list[int], watch: Callable[[], None]) -> None:
        todo: queue.SimpleQueue[int] = queue.SimpleQueue()
        for share in shares:
            todo.put(share)
        environments = slots(self.submission.execution)[: len(shares)]
        self.threads = [
            threading.Thread(target=self._slot, args=(env, todo), daemon=True) for env in environments
        ]
        for thread in self.threads:
            thread.start()
        while any(thread.is_alive() for thread in self.threads):
            self.threads[0].join(0.1)
            for thread in self.threads[1:]:
                thread.join(0.01)
            watch()
            if self.submission.cancelled:
                self.stop("cancelled")

    def _slot(self, environment: Environment, todo: queue.SimpleQueue[int]) -> None:
        while self.stopping is None:
            try:
                share = todo.get_nowait()
            except queue.Empty:
                return
            supervisor = Supervisor(self.submission, share, os.environ | environment)
            self.running[share] = supervisor
            if self.stopping is not None:
                supervisor.stop(self.stopping)
            self.endings[share] = supervisor.run()
            self.failures[share] = supervisor.failure
            del self.running[share]
