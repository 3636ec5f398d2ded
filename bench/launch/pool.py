"""Slots that take one share after the other, each with a supervisor in a thread. A slot that fails leaves the others."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence

from bench.launch.codes import Ending
from bench.launch.supervisor import Supervisor
from bench.runfolder.failure import Failure
from bench.runfolder.submission import Submission

Environment = dict[str, str]
"""What a slot adds to the environment of its workers."""


class Pool:
    """The slots of a submission; canaries first."""

    def __init__(self, submission: Submission, environments: Sequence[Environment]) -> None:
        self.submission, self.environments = submission, environments
        self.endings: dict[int, Ending] = {}
        self.failures: dict[int, Failure | None] = {}
        self.running: dict[int, Supervisor] = {}
        self.stopping: str | None = None

    def run(self, watch: Callable[[], None]) -> dict[int, Ending]:
        """Run all shares; ``watch`` is called a few times a second. Returns how each that was begun ended."""
        shares = range(len(self.submission.shares))
        for canary in (True, False):
            self._run([share for share in shares if self.submission.shares[share].canary == canary], watch)
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
        threads = [
            threading.Thread(target=self._slot, args=(environment, todo), daemon=True)
            for environment in self.environments[: len(shares)]
        ]
        for thread in threads:
            thread.start()
        while alive := [thread for thread in threads if thread.is_alive()]:
            alive[0].join(0.1)
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
