"""Removes from a run folder what processes that were killed have left there. No torch."""

from __future__ import annotations

import shutil
from pathlib import Path

from bench.runfolder import lease, store
from flowbench._core import atomic


def sweep(out: Path) -> None:
    """Leave what undisturbed commands leave; only for the holder of the lock, while nothing is at work in the folder."""
    atomic.sweep(out)
    for cell in folders(out / "cells"):
        tidy(cell)
    for submission in folders(out / "submissions"):
        if not (
            submission / "submission.json"
        ).exists():  # its command was killed before anything was started
            shutil.rmtree(submission, ignore_errors=True)


def tidy(cell: Path) -> None:
    """Remove the lease, the checkpoints and the traceback of a cell whose status tells that they are over."""
    status = lease.read(cell / "status.json")
    if not status:
        return
    (cell / "lease.json").unlink(missing_ok=True)
    if "error" not in status:
        (cell / "error.txt").unlink(missing_ok=True)
    if status.get("state") in ("trained", "diverged"):
        for step in store.checkpoint_steps(cell):
            store.checkpoint_file(cell, step).unlink(missing_ok=True)


def folders(parent: Path) -> list[Path]:
    """The folders in a folder, which may be absent."""
    return [path for path in parent.iterdir() if path.is_dir()] if parent.is_dir() else []
