"""The check that a tracker must pass: it begins the log of a cell, continues it, and takes values in both."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from bench.config.experiment import Cell
from bench.config.identity import full
from bench.tracking.tracker import About, Tracker, get
from flowbench._core.errors import UserError
from flowbench._core.registry import blame

VALUES = {"validation/loss": 0.5, "fid/ema-50-2.5": 2.0}


def check(name: str) -> list[str]:
    """Log a cell that never was, in two parts as after an interruption; a line of what passed. Raises :class:`UserError`."""
    cell, tracker = Cell("rf", "digits"), get(name)
    if not isinstance(tracker, Tracker):
        raise UserError(f"tracker {name!r} returned {type(tracker).__name__}, not a Tracker")
    with TemporaryDirectory() as folder, blame(f"tracker {name!r}"):
        for step in (0, 20):
            log = tracker.start(About(Path(folder) / "check", cell.id, "rf digits seed0", full(cell), step))
            log.log(step + 10, VALUES)
            log.log(step + 20, VALUES)
            log.finish()
    return ["begins, continues and ends the log of a cell"]
