"""Runs the worker of one share, again if it dies, until its cells are finished or it is asked to stop. No torch.

A worker that dies is started again and continues from its checkpoints. After the second death without progress it takes its
cells one at a time; after the fourth the cell that it was computing has failed, and the others continue.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import BinaryIO

from bench.launch import snapshot
from bench.launch.codes import ENDINGS, Ending
from bench.launch.worker_processes import Processes, own_device
from bench.machine import cores
from bench.runfolder import cell_folder, lease
from bench.runfolder.failure import Failure
from bench.runfolder.submission import Submission
from flowbench._core import atomic
from flowbench._core.errors import UserError

ALONE, DEATHS = 2, 4
"""Deaths without progress after which cells run alone, and after which the present cell has failed."""
FRUITLESS = 3
"""Starts without progress after which a share is given up: those that lasted longer than the time between checkpoints, or
found no device. A preemption in the beginning does not count."""
PROBE = 1 << 20
"""Bytes that a disk must still take if it is not to count as full: more than any file of a cell but its checkpoint."""
ISOLATED = {"PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}
"""Python imports nothing from the folder of a script, and adds nothing to the snapshot, whose every file is verified."""


class Supervisor:
    """One share's supervisor; ``restart`` counts the times that Slurm has started it before, ``ranks`` are the replicas of
    the worker on this machine: all, unless others are elsewhere."""

    def __init__(
        self,
        submission: Submission,
        index: int,
        environment: Mapping[str, str],
        restart: int = 0,
        job: str | None = None,
        ranks: range | None = None,
    ) -> None:
        self.submission, self.index, self.environment = submission, index, dict(environment)
        self.restart, self.job = restart, job
        self.ranks = range(submission.execution.replicas) if ranks is None else ranks
        place = f"{socket.gethostname()}/{os.getpid()}/{time.time_ns()}"
        self.token = f"{submission.id}/{index}/{restart}/{place}"
        self.found = ""  # the progress before this start
        self.fruitless = 0  # starts before this one without progress
        self.begun = time.monotonic()
        self.stopping: str | None = None
        self.failure: Failure | None = None  # of the ending, should its file not be written
        # a signal handler that interrupts its put() may call it, too
        self.changed: SimpleQueue[None] = SimpleQueue()

    def stop(self, reason: str) -> None:
        """Ask the worker to save and stop. May be called from a signal handler or another thread."""
        self.stopping = self.stopping or reason
        self.changed.put(None)

    def run(self) -> Ending:
        """Run until the share is finished; writes how it ended."""
        try:
            return self._run()
        except OSError as error:  # no log, no process, no failure can be written
            return self.write("unwritable", Failure.of(atomic.Unwritable.of(error, self.submission.folder)))
        except UserError as error:  # the code is not what was submitted
            return self.write("refused", Failure.of(error))

    def _run(self) -> Ending:
        before = lease.state(self.submission, self.index)
        if before.get("restart", -1) > self.restart:
            return "fenced"
        self.found = progress = self.progress()
        self.fruitless = before.get("fruitless", 0) if before.get("progress") == progress else 0
        if self.fruitless >= FRUITLESS:
            found = Failure.read(before.get("error")) or Failure("Fruitless", "ended", "fruitless")
            times = f"{found.message}, {self.fruitless} times in a row without progress"
            return self.write("refused", replace(found, message=times))
        deaths, begun = 0, self.write("running", None)
        if begun in ("fenced", "unwritable"):
            return begun
        while self.stopping is None:
            code = self.attempt(alone=deaths >= ALONE)
            if code in ENDINGS:
                return self.end(ENDINGS[code])
            if self.stopping is not None:
                break
            came, progress = progress, self.progress()
            deaths = deaths + 1 if came == progress else 1
            self.say(f"the worker {died_of(code)}; started again from the last checkpoints")
            time.sleep(deaths - 1)
            if deaths >= DEATHS:
                if not self.blame(code):
                    return self.write("killed", killed(code))
                deaths = 0
        return self.end("saved")

    def attempt(self, alone: bool) -> int:
        """Run the worker once; returns its exit code, negative for a signal. Raises :class:`UserError` if its code has
        been changed."""
        snapshot.verify(self.submission)
        if 0 in self.ranks:
            for file in (self.submission.end_file(self.index), self.submission.replicas_file(self.index)):
                file.unlink(missing_ok=True)
        with atomic.append(self.submission.log_file(self.index, self.ranks[0])) as log:
            worker = Processes(partial(self.start, log, alone), self.ranks, self.changed)
            asked = False
            while (code := worker.poll()) is None:
                with suppress(Empty):
                    self.changed.get(timeout=1.0)
                if self.stopping is not None and not asked:
                    asked = True
                    worker.send(signal.SIGTERM)
            return code

    def accompany(self) -> None:
        """Run the replicas on this machine of a worker whose first one is elsewhere: again whenever they have died, until
        the supervisor of that one has ended."""
        threading.Thread(target=self._stop_with_first, daemon=True).start()
        while not self.over():
            first = lease.state(self.submission, self.index)
            if self.stopping is None and first.get("restart") == self.restart:
                self.token = first["token"]
                self.attempt(alone=False)
            time.sleep(1.0)

    def over(self) -> bool:
        """Whether the supervisor of the first replica, of this start by Slurm, has ended."""
        first = lease.state(self.submission, self.index)
        begun = first.get("restart", -1)
        return bool(begun > self.restart or (begun == self.restart and first["state"] != "running"))

    def _stop_with_first(self) -> None:
        while not self.over():
            time.sleep(1.0)
        self.stop("the first replica has ended")

    def start(self, log: BinaryIO, alone: bool, rank: int) -> subprocess.Popen[bytes]:
        """Start one replica of the worker: the first one does all the work, the others train with it."""
        place = own_device(self.environment, rank - self.ranks[0], len(self.ranks))
        module = "follower" if rank else "begin"
        # -u: a line that a full disk does not take is lost, and not tried again at exit
        argv = [sys.executable, "-u", "-m", f"bench.worker.{module}"]
        argv += [str(self.submission.folder), str(self.index), self.token]
        return subprocess.Popen(
            argv + ([str(rank)] if rank else ["--alone"] * alone),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=cores.PASSIVE | self.environment | place | pythonpath(self.submission.code_folder),
            # a terminal's Ctrl-C is for the driver, which asks each worker once; Slurm may kill by group
            process_group=0 if self.job is None else None,
        )

    def progress(self) -> str:
        """A hash over the finished files of the cells, which a death does not undo."""
        found = hashlib.sha256()
        for cell in self.submission.shares[self.index].cells:
            folder = self.submission.out / "cells" / cell
            files = (p for p in folder.rglob("*.safetensors") if not p.name.startswith("."))
            names = sorted(p.relative_to(folder).as_posix() for p in files)
            found.update(f"{cell} {(folder / 'status.json').exists()} {names}\n".encode())
        return found.hexdigest()[:12]

    def blame(self, code: int) -> list[str]:
        """Mark the cells that the worker was computing as failed; returns them."""
        at = lease.read(self.submission.beat_file(self.index)).get("cells", [])
        tail = last_lines(self.submission.log_file(self.index), 20)
        failure = killed(code, f" {DEATHS} times at this cell")
        for cell in at:
            folder, evaluation = self.submission.out / "cells" / cell, self.submission.grid.evaluation.id
            cell_folder.fail(folder, failure, f"{failure.message}\n\n{tail}\n", evaluation)
            failed(self.submission, cell, failure.cause)
        self.submission.beat_file(self.index).unlink(missing_ok=True)
        return list(at)

    def end(self, ending: Ending) -> Ending:
        """Write how it ended, with the worker's reason."""
        failure = Failure("Stopped", self.stopping, "stopped") if self.stopping else None
        lasted = time.monotonic() - self.begun
        if ending == "unfit" or (ending == "saved" and lasted > self.submission.execution.checkpoint):
            self.fruitless += 1  # if it made progress, the next start sees that
        if ending in ("held", "broken", "refused", "unwritable", "unfit"):
            failure = self.noted(ending)
        return self.write(ending, failure)

    def noted(self, ending: Ending) -> Failure:
        """Why the worker ended, as it noted; where it could not, as far as can be found out."""
        kept = lease.read(self.submission.end_file(self.index))
        if kept.get("token") == self.token and (found := Failure.read(kept)):
            return found
        if ending == "unwritable":
            return unwritable(self.submission.out)
        return Failure("Unknown", f"see {shlex.quote(str(self.submission.log_file(self.index)))}", "unknown")

    def write(self, ending: Ending | str, failure: Failure | None) -> Ending:
        """Write the share's state, unless a newer supervisor has."""
        self.failure = failure
        if lease.state(self.submission, self.index).get("restart", -1) > self.restart:
            return "fenced"
        state = {
            "token": self.token,
            "restart": self.restart,
            **lease.stamp(),
            "pid": os.getpid(),
            "job": self.job,
            "state": ending,
            "error": failure and asdict(failure),
            "progress": self.found,
            "fruitless": self.fruitless,
        }
        try:
            atomic.write_json(self.submission.state_file(self.index), state)
        except atomic.Unwritable:
            return "unwritable"
        return ending  # type: ignore[return-value]

    def say(self, text: str) -> None:
        """A line in the share's log, if it takes one."""
        with suppress(OSError), atomic.append(self.submission.log_file(self.index)) as log:
            log.write(f"{text}\n".encode())


def pythonpath(code: Path) -> dict[str, str]:
    """The environment in which Python takes the packages from a snapshot, and others from the present folder as usual."""
    parts = [str(code), os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(parts), **ISOLATED}


def failed(submission: Submission, cell: str, cause: str) -> None:
    """Note for the other workers that a cell failed."""
    folder = submission.folder / "failures"
    atomic.folder(folder)
    atomic.mark(folder / f"{cause}.{cell}")


def died_of(code: int) -> str:
    """``was killed by SIGKILL (out of memory?)`` or ``ended with exit code 3``."""
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name
    return f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def killed(code: int, often: str = "") -> Failure:
    """The failure of a worker that died."""
    return Failure("Killed", f"the worker {died_of(code)}{often}", f"killed{code}")


def last_lines(log: Path, count: int) -> str:
    """The end of a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 200 * count))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])
    except OSError:
        return ""


def unwritable(folder: Path) -> Failure:
    """Why a folder cannot be written, where a worker could not note it there."""
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            file.write(bytes(PROBE))
    except OSError as error:
        return Failure.of(atomic.Unwritable(error.errno, error.strerror or str(error), str(folder)))
    return Failure("Unwritable", f"{folder} could not be written", "unwritable")
