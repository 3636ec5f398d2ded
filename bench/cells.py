"""What is done to a cell's folder from several places: its log, its failure, what makes it run again."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal

from bench import store

Retry = Literal["failed", "all"]


def note(folder: Path, text: str) -> None:
    """A line in the cell's log. A log that cannot be written stops nothing."""
    with suppress(OSError), store.append(folder / "log.txt") as log:
        log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n".encode())


def fail(folder: Path, error: str, trace: str, cause: str, evaluation: str) -> None:
    """Note why a cell failed. A trained cell stays trained: it failed under this ``evaluation``, and is whole for others.

    ``error`` is a sentence, ``trace`` the whole story, and ``cause`` the same for failures that are alike.
    """
    store.write_text(folder / "error.txt", trace)
    try:
        status = store.read_object(folder / "status.json")
    except store.Damaged:
        status = {"state": "failed"}
    told = {"error": error, "cause": cause, "evaluation": evaluation}
    store.write_json(folder / "status.json", status | told)
    note(folder, f"failed: {error}")


def forget(folder: Path) -> None:
    """Delete the weights, and what was made with them."""
    for name in ("status.json", "error.txt", *store.WEIGHTS):
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
        status = store.read_object(folder / "status.json")
        for word in ("error", "cause", "evaluation"):
            status.pop(word, None)
        if status["state"] == "failed":
            (folder / "status.json").unlink()
        else:
            store.write_json(folder / "status.json", status)
    (folder / "error.txt").unlink(missing_ok=True)
    note(folder, f"tried again, {'from where it was' if what == 'failed' else 'from the start'}")
