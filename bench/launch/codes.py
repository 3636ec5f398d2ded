"""Exit codes of a worker process, and their meaning to its supervisor. A signal, or any other code, is a death."""

from __future__ import annotations

from typing import Literal

SETTLED, REFUSED, FAILED, HELD, BROKEN, UNWRITABLE, SAVED, FENCED, UNFIT = 0, 2, 10, 11, 12, 74, 75, 76, 77
"""Exit codes: all cells are finished; a user's mistake; a cell failed; cells are held back; an error that belongs to no
cell, which another start would meet again; no file can be written; saved because it was asked to stop; a newer copy runs;
this node has not the device that was asked for."""

UNFLUSHED = 120
"""Python's own: the log could not take the last words, whatever the worker's own code was."""

LOST = 70
"""The device does nothing more in this process: a death, after which another process continues."""

Ending = Literal[
    "settled", "failed", "held", "broken", "refused", "unwritable", "saved", "fenced", "unfit", "killed"
]
ENDINGS: dict[int, Ending] = {
    SETTLED: "settled",
    FAILED: "failed",
    HELD: "held",
    BROKEN: "broken",
    REFUSED: "refused",
    UNWRITABLE: "unwritable",
    UNFLUSHED: "unwritable",
    SAVED: "saved",
    FENCED: "fenced",
    UNFIT: "unfit",
}
