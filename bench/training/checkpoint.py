"""Training that can be interrupted: every member's state in a file of its own cell, two generations of it.

A member's state is its rows of everything that training changes, so that cells which trained together continue together,
and each of them alone. All cells of a pack are written before any older file is deleted: whenever a worker dies there
is a step that all of them have. A resumed training is the uninterrupted one, bit for bit on a CPU. Of replicas that divide
the parameters each writes its own (:mod:`bench.training.checkpoint_parts`).
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from bench.models.flat import Flat
from bench.optimisers import Optimiser
from bench.runfolder import store
from bench.training import checkpoint_parts
from bench.training.members import Best, Health
from bench.training.replicas import ALONE, Replicas
from flowbench._core import atomic
from flowbench._core.terminal import many

GENERATIONS = 2
SHARE = 0.02
"""Checkpoints are written less often than asked for where writing would take more than this share of the time."""

LONGEST = 1800.0
"""But at least so often, in seconds: one slow write is no reason to write no more."""


class Resumable(Protocol):
    """What a checkpoint keeps of a trainer (:class:`bench.training.trainer.Trainer`)."""

    flat: Flat
    ema: Tensor
    health: Health
    optimiser: Optimiser


@dataclass
class State:
    """Everything that training changes: the trainer, the best weights so far, and each member's lines of metrics."""

    trainer: Resumable
    best: Best
    lines: list[list[dict[str, Any]]]

    @property
    def flat(self) -> Flat:
        """The weights."""
        return self.trainer.flat

    def rows(self) -> dict[str, Tensor]:
        """Every tensor of the state by name; the first axis of each is the members."""
        trainer, health, best = self.trainer, self.trainer.health, self.best
        named = {"weights": trainer.flat.weights, "ema": trainer.ema, **trainer.optimiser.state()}
        named |= {f"health.{name}": getattr(health, name) for name in ("alive", "died", "total", "count")}
        return named | {
            f"best.{name}": getattr(best, name) for name in ("ema", "raw", "loss", "common", "step")
        }

    def stacked(self, members: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Every member's rows as :meth:`rows` has them. Raises KeyError or ValueError for those of another model."""
        rows = self.rows()
        found = {name: torch.stack([member[name] for member in members]) for name in rows}
        if any(found[name].shape != row.shape for name, row in rows.items()):
            raise ValueError("it is of another model")
        return found

    def put(self, step: int, found: dict[str, Tensor], lines: list[list[dict[str, Any]]]) -> None:
        """Put the rows and lines of a step into place."""
        for name, row in self.rows().items():
            row.copy_(found[name])
        self.lines[:] = lines
        self.trainer.optimiser.resume(step)


@dataclass(frozen=True)
class Found:
    """The state of a step as files hold it: rows by name, each member's lines of metrics, the seconds and threads of its
    training."""

    rows: dict[str, Tensor]
    lines: list[list[dict[str, Any]]]
    seconds: float
    threads: int


class Checkpointer:
    """Saves the state of a pack when it is time, and finds it again.

    Args:
        folders: the cells' folders, in the order of the members.
        seconds: between checkpoints; more if writing them takes more than :data:`SHARE` of the time.
        stop: asked after every step; a reason makes the checkpointer save and raise :class:`Stopped`.
        guard: called before anything is written; raises if these cells are no longer ours.
        say: takes sentences on what was found damaged, and on what could not be written.
        pack: the ids of the cells that train together, noted so that they continue together.
        threads: turns the threads that a checkpoint was written with into those to continue with.
        keepers: the replicas that each keep a part of the state; what one of them cannot read or write none does.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        seconds: float,
        stop: Callable[[], str | None] = lambda: None,
        guard: Callable[[], None] = lambda: None,
        say: Callable[[str], None] = lambda text: None,
        pack: Sequence[str] = (),
        threads: Callable[[int], int] = lambda count: count,
        keepers: Replicas = ALONE,
    ) -> None:
        self.folders, self.seconds, self.stop, self.guard, self.say = folders, seconds, stop, guard, say
        self.pack, self.threads, self.keepers = list(pack), threads, keepers
        self.began = self.saved = time.monotonic()
        self.spent = self.cost = 0.0

    def elapsed(self) -> float:
        """Seconds of training so far, over all interruptions."""
        return self.spent + time.monotonic() - self.began

    def load(self, state: State) -> int:
        """Put the newest state that all cells have into place; returns its step, 0 if there is none.

        Newer ones that cannot be read go: the next ones would be taken for older than them.
        """
        while step := self.keepers.firsts(max(common_steps(self.folders), default=0)):
            found = self.read(step, state)
            if self.keepers.agree(None if found else "unread") is None and found:
                self.put(step, found, state)
                self.say(f"continuing at step {step}")
                return step
            if self.keepers.first:
                self.delete(step.__eq__)
        left = sorted({step for folder in self.folders for step in store.checkpoint_steps(folder)})
        if left:
            self.say(f"from the start: not all cells of the pack have the checkpoints of steps {left}")
        return 0

    def read(self, step: int, state: State) -> Found | None:
        """The state of a step, if all cells' files are whole and of this model."""
        try:
            members = [checkpoint_parts.read(folder, step, state) for folder in self.folders]
            rows, about = state.stacked([tensors for tensors, _ in members]), [about for _, about in members]
            lines, seconds = [each["lines"] for each in about], max(float(each["seconds"]) for each in about)
            return Found(rows, lines, seconds, int(about[0]["threads"]))
        except (atomic.Damaged, KeyError, ValueError, RuntimeError) as error:
            self.say(f"the checkpoint of step {step} is not used: {error}")
            return None

    def put(self, step: int, found: Found, state: State) -> None:
        """Put it into place."""
        state.put(step, found.rows, found.lines)
        self.spent = found.seconds
        if state.flat.weights.device.type == "cpu":
            self.take(found.threads)

    def take(self, before: int) -> None:
        """The threads of a checkpoint, as another number adds in another order; fewer if there are no cores for them."""
        count, now = self.threads(before), torch.get_num_threads()
        torch.set_num_threads(count)
        if count < before:
            self.say(
                f"with {many(count, 'thread')} instead of {before}, other processes use the cores: results agree with an "
                f"uninterrupted training's up to rounding"
            )
        elif count != now:
            self.say(f"with {many(count, 'thread')} as before, for the same bits")

    def __call__(self, step: int, state: State) -> None:
        """After ``step`` steps: save if it is time. Raises :class:`Stopped` if asked to stop, once all is saved."""
        reason, now = self.stop(), time.monotonic()
        due = reason is not None or now - self.saved >= max(self.seconds, min(self.cost / SHARE, LONGEST))
        if due:
            self.guard()
        if not self.keepers.firsts(due):
            return
        try:
            self.save(step, state)
        except atomic.Unwritable as error:
            kept = max(common_steps(self.folders), default=0)
            why = f"{error.filename}: {error.strerror}"
            self.say(f"no checkpoint at step {step}, the last one is of step {kept} ({why})")
        self.saved = time.monotonic()
        self.cost = self.saved - now
        if reason is not None:
            raise Stopped(f"{reason}: stopped after step {step}")

    def save(self, step: int, state: State) -> None:
        """Write every cell's rows, the first replica after the others; then delete all but the newest two generations that
        all cells have."""
        failed = None
        if not self.keepers.first:
            try:
                self.write(step, state)
            except atomic.Unwritable as error:
                failed = error
        if self.keepers.agree(None if failed is None else "unwritable"):
            raise failed or atomic.Unwritable(errno.EIO, "a replica lacks space", str(self.folders[0]))
        if self.keepers.first:
            self.write(step, state)
            kept = common_steps(self.folders)[:GENERATIONS]
            self.delete(lambda each: each not in kept)

    def write(self, step: int, state: State) -> None:
        """Write the rows that are here."""
        rows = {name: tensor.detach().cpu() for name, tensor in state.rows().items()}
        for e, folder in enumerate(self.folders):
            about = {"step": step, "seconds": self.elapsed(), "lines": state.lines[e], "pack": self.pack}
            about["threads"] = torch.get_num_threads()
            tensors = {name: row[e] for name, row in rows.items()}
            checkpoint_parts.write(folder, step, state.flat.part, tensors, about)

    def delete(self, steps: Callable[[int], bool]) -> None:
        """Delete every cell's checkpoints of such steps."""
        for folder in self.folders:
            store.delete_checkpoints(folder, steps)


class Stopped(BaseException):
    """A worker was asked to stop, and has saved what it had. No ``Exception``: it is no failure of a cell."""


def common_steps(folders: Sequence[Path]) -> list[int]:
    """The steps at which all these cells have checkpoints, the newest first."""
    found = [set(store.checkpoint_steps(folder)) for folder in folders]
    return sorted(set.intersection(*found), reverse=True) if found else []
