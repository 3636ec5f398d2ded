"""How a worker process ends, and what its supervisor makes of it. A signal, or any other code, is a death."""

from __future__ import annotations

from typing import Literal

SETTLED, REFUSED, FAILED, HELD, UNWRITABLE, SAVED, FENCED = 0, 2, 10, 11, 74, 75, 76
"""Exit codes: all cells are at their end; a user's mistake; a cell failed; cells are held back; no file can be written;
saved because it was asked to stop; a newer copy runs."""

Ending = Literal["settled", "failed", "held", "refused", "unwritable", "saved", "fenced", "killed"]
ENDINGS: dict[int, Ending] = {
    SETTLED: "settled",
    FAILED: "failed",
    HELD: "held",
    REFUSED: "refused",
    UNWRITABLE: "unwritable",
    SAVED: "saved",
    FENCED: "fenced",
}
