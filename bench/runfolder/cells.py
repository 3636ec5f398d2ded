"""What is done to a cell's folder from several places: its log, its failure, what makes it run again."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from bench.runfolder import store
from bench.runfolder.failure import Failure
from flowbench._core import atomic
from flowbench._core.errors import UserError

Retry = Literal["failed", "all"]
CHANGED = "changed.json"
"""In the folder of a cell whose data are no longer what they were when it was trained: why that was found."""


class Changed(UserError):
    """A cell that was begun with something else than there is now: nothing of it may be gone on with."""


def note(folder: Path, text: str) -> None:
    """A line in the cell's log. A log that cannot be written stops nothing."""
    with suppress(OSError), atomic.append(folder / "log.txt") as log:
        log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n".encode())


def fail(folder: Path, failure: Failure, trace: str, evaluation: str) -> None:
    """Note why a cell failed; ``trace`` is the whole story. A trained cell stays trained: it failed under this
    ``evaluation``, and is whole for others."""
    atomic.write_text(folder / "error.txt", trace)
    try:
        status = atomic.read_object(folder / "status.json")
    except atomic.Damaged:
        status = {"state": "failed"}
    atomic.write_json(folder / "status.json", status | {"error": asdict(failure), "evaluation": evaluation})
    note(folder, f"failed: {failure.message}")


def forget(folder: Path) -> None:
    """Delete the weights, and what was made with them."""
    for name in ("status.json", "error.txt", CHANGED, *store.WEIGHTS):
        (folder / name).unlink(missing_ok=True)
    for part in [p for p in folder.iterdir() if p.is_dir()] if folder.is_dir() else []:
        shutil.rmtree(part)


def retry(folder: Path, what: Retry) -> None:
    """Let a failed cell run again: from where it was (``failed``), or from the start (``all``)."""
    if what == "all":
        forget(folder)
        for step in store.checkpoint_steps(folder):
            store.checkpoint_file(folder, step).unlink()
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
