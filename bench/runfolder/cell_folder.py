"""The folder of a cell: its log, its failure, running it again, and removing what killed processes have left. No torch."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from bench.runfolder import lease, store
from bench.runfolder.failure import Failure
from flowbench._core import atomic
from flowbench._core.errors import UserError

Retry = Literal["failed", "all"]
CHANGED = "changed.json"
"""In the folder of a cell whose data have changed since it was trained: how that was found."""


class Changed(UserError):
    """A cell whose inputs have changed since it was begun: it must not continue."""


def note(folder: Path, text: str) -> None:
    """Add a line to the cell's log. A log that cannot be written stops nothing."""
    with suppress(OSError), atomic.append(folder / "log.txt") as log:
        log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n".encode())


def fail(folder: Path, failure: Failure, trace: str, evaluation: str) -> None:
    """Note why a cell failed, with its traceback. A trained cell stays trained: it failed under this ``evaluation``, and is
    whole for others."""
    atomic.write_text(folder / "error.txt", trace)
    try:
        status = atomic.read_object(folder / "status.json")
    except atomic.Damaged:
        status = {"state": "failed"}
    atomic.write_json(folder / "status.json", status | {"error": asdict(failure), "evaluation": evaluation})
    note(folder, f"failed: {failure.message}")


def forget(folder: Path, milestones: bool = True) -> None:
    """Delete the weights, also of ``milestones`` unless a training that ends has just left them, and all that was made with
    them."""
    for name in ("status.json", "error.txt", CHANGED, *store.WEIGHTS):
        (folder / name).unlink(missing_ok=True)
    for file in folder.glob(store.MILESTONES) if milestones else ():
        file.unlink(missing_ok=True)
    for part in folders(folder):
        shutil.rmtree(part)


def retry(folder: Path, what: Retry) -> None:
    """Let a failed cell run again: from its last checkpoint (``failed``), or from the start (``all``)."""
    if what == "all":
        forget(folder)
        store.delete_checkpoints(folder)
    else:
        status = atomic.read_object(folder / "status.json")
        for word in ("error", "evaluation"):
            status.pop(word, None)
        if status["state"] == "failed":
            (folder / "status.json").unlink()
        else:
            atomic.write_json(folder / "status.json", status)
    (folder / "error.txt").unlink(missing_ok=True)
    note(folder, f"tried again, {'from where it was' if what == 'failed' else 'from the start'}")


def sweep(out: Path) -> None:
    """Remove the remains of killed processes from a run folder; only while its lock is held and no worker is active."""
    atomic.sweep(out)
    for cell in folders(out / "cells"):
        tidy(cell)
    for submission in folders(out / "submissions"):
        if not (submission / "submission.json").exists():  # its command was killed before it started anything
            shutil.rmtree(submission, ignore_errors=True)


def tidy(cell: Path) -> None:
    """Remove the lease, the checkpoints and the traceback of a cell whose status makes them obsolete."""
    status = lease.read(cell / "status.json")
    if not status:
        return
    (cell / "lease.json").unlink(missing_ok=True)
    if "error" not in status:
        (cell / "error.txt").unlink(missing_ok=True)
    if status.get("state") in ("trained", "diverged"):
        store.delete_checkpoints(cell)


def folders(parent: Path) -> list[Path]:
    """The folders in a folder, which may be absent."""
    return [path for path in parent.iterdir() if path.is_dir()] if parent.is_dir() else []
