"""Shows what local workers print and do: the lines of their logs, and how far they are by their heartbeats."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from bench.cost.estimate import duration
from bench.cost.workload import left, progress, speed
from bench.launch.codes import Ending
from bench.machine.stage_timer import sentence
from bench.planning.cells import every_cell
from bench.planning.labels import label
from bench.runfolder import lease
from bench.runfolder.submission import Submission
from bench.status.progress import Display, Now

log = logging.getLogger(__name__)

EVERY = 0.5
"""Seconds between looks at the heartbeats."""


class Follow:
    """Called a few times a second. ``begun`` gives the shares that were begun, ``endings`` are the finished ones'."""

    def __init__(
        self,
        submission: Submission,
        display: Display,
        begun: Callable[[], Iterable[int]],
        endings: Mapping[int, Ending],
    ) -> None:
        self.submission, self.display, self.begun, self.endings = submission, display, begun, endings
        self.drained: set[int] = set()
        self.read = [0] * len(submission.shares)
        self.looked = 0.0
        self.at: dict[int, list[str]] = {}
        self.first: tuple[float, float] | None = None

    def __call__(self) -> None:
        """Print new lines, and show how far all is."""
        for index in sorted(set(self.begun()) - self.drained):
            over = index in self.endings
            self.lines(index)
            if over:
                self.drained.add(index)
                self.ended(index)
        if time.monotonic() - self.looked >= EVERY:
            self.looked = time.monotonic()
            self.beats()

    def lines(self, index: int) -> None:
        """The complete lines that a worker has added to its log."""
        try:
            with self.submission.log_file(index).open("rb") as log:
                log.seek(self.read[index])
                new = log.read()
        except FileNotFoundError:
            return
        whole, newline, _ = new.rpartition(b"\n")
        self.read[index] += len(whole) + len(newline)
        for line in whole.decode(errors="replace").splitlines():
            self.display.say(self.prefix(index) + line)

    def beats(self) -> None:
        """Show the fraction of all cells that is done, what the first worker does, and the time that is left."""
        shares = self.submission.shares
        done, now, begun = 0.0, Now(), set(self.begun())
        for index, share in reversed(list(enumerate(shares))):
            if index in self.endings:
                done += len(share.cells)
            elif index in begun and (beat := self.beat(index)):
                self.cells(index, beat["cells"])
                done += len(share.cells) * progress(beat)
                text = self.prefix(index) + beat["text"] if beat["text"] else ""
                now = Now(beat["stage"], text, 0.0, speed(beat), left(beat) if len(shares) == 1 else "")
        done /= max(1, sum(len(share.cells) for share in shares))
        if len(shares) > 1:
            now = replace(now, left=self.left(done))
        self.display.show(replace(now, share=done))

    def cells(self, index: int, ids: list[str]) -> None:
        """With ``--verbose``, the cells that a worker has begun."""
        if ids and ids != self.at.get(index) and log.isEnabledFor(logging.DEBUG):
            known = {cell.id: cell for cell in every_cell(self.submission.grid)}
            for cell in ids:
                text = f"{self.prefix(index)}cell {cell}: {label(known[cell], self.submission.grid)}"
                self.display.say(text, logging.DEBUG)
        self.at[index] = ids

    def ended(self, index: int) -> None:
        """With ``--verbose``, how a worker ended, and where its time went."""
        beat = lease.read(self.submission.beat_file(index))
        self.cells(index, beat.get("cells", []))
        seconds = sentence(beat.get("seconds", {}))
        text = f"worker {index} {self.endings[index]}{f', seconds: {seconds}' if seconds else ''}"
        self.display.say(text, logging.DEBUG)

    def left(self, done: float) -> str:
        """How long all workers will take, by what they have done since this command has followed them."""
        seconds, self.first = self.display.elapsed, self.first or (self.display.elapsed, done)
        own, since = done - self.first[1], seconds - self.first[0]
        return f"{duration((1 - done) * since / own / 3600)}s left" if own > 0.01 and since > 5 else ""

    def beat(self, index: int) -> dict[str, Any] | None:
        """A worker's heartbeat, if it has one."""
        found = lease.read(self.submission.beat_file(index))
        return found if {"share", "before", "part", "stage", "text", "cells"} <= found.keys() else None

    def prefix(self, index: int) -> str:
        """Which worker, if there are several."""
        return f"worker {index}: " if len(self.submission.shares) > 1 else ""
