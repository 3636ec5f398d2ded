"""Run folders in every state, written as the real code writes them, and a Slurm that answers what a test sets."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from bench.config.experiment import Cell, Grid, Training
from bench.config.identity import full
from bench.launch.launchers import Job, write_jobs
from bench.launch.slurm import queue
from bench.models.architecture import version_of
from bench.planning.cells import cells_of
from bench.runfolder import cell_folder, store
from bench.runfolder import submission as submissions
from bench.runfolder.failure import Failure
from bench.runfolder.submission import Execution, Share, Submission
from flowbench._core import atomic
from flowbench._core.errors import UserError

GRID = Grid(formulations=("rf", "eps/linear", "v/cos", "edm/rf"), seeds=2, training=Training(steps=1000))


class Slurm:
    """Answers for squeue and sacct; ``down`` answers nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.listed: list[str] = []
        self.accounted: list[str] = []
        self.calls: list[str] = []
        self.down = False
        monkeypatch.setattr(queue, "run", self.run)

    def run(self, command: Sequence[str], pardoned: Sequence[str] = ()) -> str:
        self.calls.append(command[0])
        if self.down:
            raise UserError(f"{command[0]} does not answer (Connection refused): is slurmctld up? try again")
        return "\n".join(self.listed if command[0] == "squeue" else self.accounted)


def begin(
    out: Path, name: str, shares: Sequence[Sequence[int]], executor: str = "slurm", grid: Grid = GRID
) -> Submission:
    """A submission of this process, called ``name``, whose shares have the plan's cells of these numbers."""
    ids = [cell.id for cell in cells_of(grid)]
    out.mkdir(exist_ok=True)
    held = tuple(Share(tuple(ids[i] for i in share)) for share in shares)
    execution = Execution(executor)
    here = socket.gethostname(), os.getpid()
    made = Submission(out / "submissions" / name, grid, execution, held, "c0de", (), (), *here, name)
    submissions.write(made)
    if executor == "slurm":
        write_jobs(made, [Job("7" + name, tuple(range(len(shares))))])
    return made


def supervised(
    submission: Submission, index: int, state: str, reason: str = "", cause: str = "", **beat: Any
) -> None:
    """What a share's supervisor and worker write."""
    kept: dict[str, Any] = {"token": f"t{index}", "host": "here", "pid": 4711, "state": state}
    kept["error"] = asdict(Failure("Any", reason, cause)) if reason else None
    atomic.write_json(submission.state_file(index), kept)
    if beat:
        usual = {
            "token": f"t{index}",
            "stage": "train",
            "text": "",
            "pack": 0,
            "packs": 1,
            "before": (0.0, 0.0),
            "part": (1.0, 1.0),
            "resumed": 0.0,
            "share": 0.0,
            "seconds": {},
        }
        atomic.write_json(submission.beat_file(index), usual | beat)


def silenced(submission: Submission, index: int, seconds: float) -> None:
    """As if the share had been heard of so long ago."""
    for file in (submission.state_file(index), submission.beat_file(index)):
        if file.exists():
            os.utime(file, (time.time() - seconds,) * 2)


def about(cell: Cell) -> dict[str, Any]:
    """What a cell's configuration file holds."""
    return {"cell": full(cell), "architecture": version_of("mmdit")}


def put(out: Path, number: int, state: str, grid: Grid = GRID) -> Path:
    """The folder of the plan's cell of this number, in a state of its own files."""
    cell = cells_of(grid)[number]
    folder = out / "cells" / cell.id
    atomic.write_json(folder / "config.json", about(cell))
    if state == "stale":
        atomic.write_json(folder / "lease.json", {})
    elif state in ("done", "trained"):
        for name in store.WEIGHTS:
            atomic.write_text(folder / name, "")
        atomic.write_json(folder / "status.json", {"state": "trained"})
        for name in store.MEASURED if state == "done" else ():
            atomic.write_text(folder / grid.evaluation.id / name, "{}")
    else:
        atomic.write_json(folder / "status.json", {"state": state})
    return folder


def fail(out: Path, number: int, error: str, where: str, cause: str, grid: Grid = GRID) -> None:
    """A cell that failed as a pack fails it."""
    trace = (
        "Traceback (most recent call last):\n"
        '  File "/usr/lib/python/bench/pack.py", line 40, in run\n'
        "    train_pack(pack, setup, bench)\n"
        f'  File "{out}/code/c0de/{where}", line 12, in weight\n'
        "    return x @ y\n"
        "           ~~^~~\n"
        f"{error}\n"
    )
    cell_folder.fail(
        put(out, number, "failed", grid), Failure(error.partition(":")[0], error, cause), trace, "any"
    )
