"""The right to write: of two copies of a worker, the newer one has it; of two workers of one cell, the first one.

A network that was cut can leave a process running while Slurm starts it again elsewhere. The supervisor of a share writes
its token into ``share-0003.json``; a newer one (a higher SLURM_RESTART_COUNT) overwrites it, and the older one finds another
token there before its next write, and stops. A cell's ``lease.json`` holds the token of its worker. Should both write in the
moment between looking and writing, they write the same: every file appears whole, and training is deterministic.
"""

from __future__ import annotations

import functools
import os
import socket
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.runfolder.failure import Failure
from bench.runfolder.submission import Submission
from flowbench._core import atomic

BEAT_SECONDS = 5.0
"""Seconds between heartbeats."""
SILENT_SECONDS = 90.0
"""A worker that has been silent for so long is taken for gone, unless its launcher lists it."""
CLOCK_SECONDS = 60.0
"""A file system's clock is read anew after so long."""


class Fenced(BaseException):
    """A newer copy of this worker runs. No ``Exception``: it is no failure of a cell."""


class Taken(BaseException):
    """A cell is another worker's now, or its folder was removed. No ``Exception``: it is no failure of the cell."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder} is another worker's now, or was removed: left alone")
        self.folder = folder


@dataclass(frozen=True)
class Lease:
    """One run of one share."""

    submission: Submission
    index: int
    token: str

    def check(self) -> None:
        """Raises :class:`Fenced` if another copy has taken the share over."""
        if not self.named(self.submission.state_file(self.index)):
            raise Fenced(f"share {self.index} of {self.submission.id} was taken over by a newer worker")

    def take(self, folder: Path) -> bool:
        """Take a cell, unless another worker is alive at it."""
        file = folder / "lease.json"
        held = read(file)
        if held.get("token") != self.token and alive(self.submission.out, held, self.submission, self.index):
            return False
        mine = {"token": self.token, "submission": self.submission.id, "share": self.index}
        atomic.write_json(file, mine)
        return self.named(file)  # another may have written in the same moment

    def guard(self, folders: Sequence[Path]) -> None:
        """Raises :class:`Fenced` if the share is no longer ours, :class:`Taken` if one of the cells is not."""
        self.check()
        for folder in folders:
            if not self.named(folder / "lease.json"):
                raise Taken(folder)

    def named(self, file: Path) -> bool:
        """Whether a file holds our token. A damaged one counts as ours, a missing one as another's; ours, too, if the file
        system does not answer."""
        try:
            return read(file).get("token", self.token) == self.token and file.exists()
        except OSError:
            return True

    def release(self, folder: Path) -> None:
        """Give a cell back, if it is still ours."""
        if read(folder / "lease.json").get("token") == self.token:
            (folder / "lease.json").unlink(missing_ok=True)


def revoke(submission: Submission, index: int, reason: str) -> None:
    """Take a share from a worker that counts as gone."""
    lost = {"token": "lost", "state": "lost", "error": asdict(Failure("Lost", reason, "lost"))}
    atomic.write_json(submission.state_file(index), state(submission, index) | lost)


def alive(out: Path, held: dict[str, Any], ours: Submission, index: int) -> bool:
    """Whether the worker that holds a lease, if it is of another share, still beats."""
    name, share = held.get("submission"), held.get("share")
    if not isinstance(name, str) or not isinstance(share, int) or (name, share) == (ours.id, index):
        return False
    other = out / "submissions" / name
    kept = read(other / f"share-{share:04}.json")
    if kept.get("state") != "running" or on_this_machine(kept.get("host"), kept.get("pid")) is False:
        return False
    return silence(other, share) < SILENT_SECONDS


def on_this_machine(host: Any, pid: Any) -> bool | None:
    """Whether a process of this machine lives; None for another machine's."""
    if host != socket.gethostname() or not isinstance(pid, int):
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return True


def stamp() -> dict[str, Any]:
    """When and where a file is written, for :func:`silence`."""
    return {"host": socket.gethostname(), "clock": time.monotonic()}


def silence(folder: Path, index: int) -> float:
    """Seconds since the last sign of life of a share; infinite without any.

    On this machine by a clock that is never set; on others by that of the file system which they write to.
    """
    return min(age(folder / f"{name}-{index:04}.json") for name in ("share", "beat"))


def age(file: Path) -> float:
    """Seconds since a file with a :func:`stamp` was written; infinite if it is missing or its time lies in the future."""
    kept = read(file)
    if kept.get("host") == socket.gethostname() and isinstance(kept.get("clock"), float):
        found = time.monotonic() - kept["clock"]
        return found if found >= 0 else float("inf")  # written before this machine was started
    try:
        found = now(file.parent) - file.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
    return max(0.0, found) if found > -SILENT_SECONDS else float("inf")


def now(folder: Path) -> float:
    """The time of the file system, which may be another machine's; read once in a while."""
    offset = _offset(folder, int(time.monotonic() / CLOCK_SECONDS))
    return time.monotonic() + offset


@functools.lru_cache(maxsize=256)
def _offset(folder: Path, turn: int) -> float:
    """From our clock to that of the file system."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno()).st_mtime - time.monotonic()
    except OSError:  # a folder that can only be read
        return time.time() - time.monotonic()


def state(submission: Submission, index: int) -> dict[str, Any]:
    """The state file of a share's supervisor; empty if it has not begun."""
    return read(submission.state_file(index))


def read(file: Path) -> dict[str, Any]:
    """A JSON object; empty if the file is missing or damaged."""
    return atomic.known_object(file)
