"""A worker's heartbeat and ear: it writes what the worker does every few seconds, and hears when it must stop."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from bench.cost.workload import Workload
from bench.launch.codes import FENCED, SAVED
from bench.machine.stage_timer import Stages
from bench.runfolder import lease
from bench.training.checkpoint import Stopped
from flowbench._core import atomic

WINDOW = 20.0
"""Seconds over which a rate is measured."""
PATIENCE = 300.0
"""Seconds that a worker may take to save and end when no command waits for it any more."""


class Heartbeat:
    """Beats while it is entered. :meth:`stop` gives the reason to stop, once there is one."""

    def __init__(self, held: lease.Lease, stages: Stages) -> None:
        self.lease, self.stages = held, stages
        self.reason: str | None = None
        self.fenced: lease.Fenced | None = None
        self.at_once = False
        # the supervisor, which may be gone by now
        self.parent = lease.state(held.submission, held.index).get("pid", os.getppid())
        self.now: dict[str, Any] = {"token": held.token, "stage": "start", "share": 0.0}
        self.now |= {"text": "preparing the device"}
        self.now |= {"pack": 0, "packs": 1, "cells": []}
        self.now |= {"before": Workload(0.0, 0.0), "part": Workload(1.0, 1.0), "resumed": 0.0}
        self.counts: deque[tuple[float, int]] = deque()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._beats, daemon=True)

    def __enter__(self) -> Heartbeat:
        for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT):
            signal.signal(number, self._hear)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM, signal.SIGUSR2, signal.SIGINT])
        self.lease.check()
        self._beat()
        self.thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.over.set()
        self.thread.join()
        self.now["over"] = True
        self._beat()

    def begin(self, number: int, packs: Sequence[Workload], cells: Sequence[str], trained: float) -> None:
        """Note the pack that comes next, counted from 0, of those with these workloads.

        ``trained`` is the share of its training that is there already, from before this worker.
        """
        before = (sum(workload[half] for workload in packs[:number]) for half in (0, 1))
        self.now |= {"pack": number, "packs": len(packs), "cells": list(cells), "share": 0.0}
        self.now |= {"before": Workload(*before), "part": packs[number]}
        self.now["resumed"] += trained * packs[number].training
        self._beat()

    def note(self, text: str) -> None:
        """What is done before the first pack."""
        self.now["text"] = text
        self._beat()

    def report(
        self, stage: str, text: str, share: float, count: int = 0, unit: str = "", threads: int | None = None
    ) -> None:
        """How far the pack is: a stage, a text, and a share of it between 0 and 1; training counts for one half.

        ``count`` of a ``unit`` are done, by ``threads`` threads (None on a GPU); their rate is over the last
        :data:`WINDOW` seconds.

        Raises :class:`Stopped` while images are generated and measured: all that is finished has been written.
        """
        self.now |= {
            "stage": stage,
            "text": text,
            "share": share / 2 if stage == "train" else 0.5 + share / 2,
        }
        now = time.monotonic()
        if self.counts and (self.now.get("unit") != unit or self.counts[-1][1] > count):
            self.counts.clear()
        self.counts.append((now, count))
        while len(self.counts) > 2 and now - self.counts[0][0] > WINDOW:
            self.counts.popleft()
        (first, before), passed = self.counts[0], now - self.counts[0][0]
        rate = (count - before) / passed if now > first and count > before else None
        self.now |= {"rate": rate, "unit": unit, "threads": threads}
        if stage != "train" and (reason := self.stop()):
            raise Stopped(f"{reason}: stopped while generating images")

    def stop(self) -> str | None:
        """The reason to stop, or None. Raises :class:`bench.runfolder.lease.Fenced` if a newer copy of this worker runs."""
        if self.fenced:
            raise self.fenced
        return self.reason

    @contextmanager
    def may_stop(self) -> Iterator[None]:
        """While there is nothing to save: a signal ends the block at once."""
        self.at_once = True
        if self.reason:
            raise Stopped(f"{self.reason}: stopped before anything was begun")
        try:
            yield
        finally:
            self.at_once = False

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.reason = self.reason or "asked to stop"
        if self.at_once:
            self.at_once = False
            if self.fenced:
                raise self.fenced
            raise Stopped(f"{self.reason}: stopped before anything was begun")

    def _beats(self) -> None:
        while not self.over.wait(lease.BEAT_SECONDS):
            try:
                self.lease.check()
            except lease.Fenced as error:
                self.fenced = error
            except OSError:  # the file system does not answer: asked again
                continue
            if self.fenced or os.getppid() != self.parent:
                self._end()
                return
            self._beat()

    def _end(self) -> None:
        """No command waits for this worker any more: it saves if it may, and ends; by force if it takes too long."""
        self.reason = self.reason or "the command that started this worker is gone"
        os.kill(os.getpid(), signal.SIGTERM)  # the main thread hears it
        until = time.monotonic() + PATIENCE
        while not self.over.wait(lease.BEAT_SECONDS):
            if time.monotonic() > until:
                os._exit(FENCED if self.fenced else SAVED)
            if not self.fenced:
                self._beat()

    def _beat(self) -> None:
        with suppress(OSError):  # a full disk does not stop a training
            beat = self.now | lease.stamp() | {"seconds": self.stages.report()}
            atomic.write_json(self.lease.submission.beat_file(self.lease.index), beat, sync=False)
