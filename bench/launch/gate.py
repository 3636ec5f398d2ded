"""Holds cells back while others show that they would fail too: no torch, and decided from files by every worker."""

from __future__ import annotations

import os
from collections import Counter

from bench.config import Cell
from bench.launch.submission import Submission
from bench.plan import cells_of

ALIKE = 3
"""So many failures with the same traceback hold all that is left."""


class Gate:
    """Asked before a pack begins; ``reason`` tells why the last cell was held."""

    def __init__(self, submission: Submission) -> None:
        self.submission, self.reason = submission, ""
        chosen = {cell for share in submission.shares if share.canary for cell in share.cells}
        self.canaries = (
            {c.id: c.formulation for c in cells_of(submission.grid) if c.id in chosen} if chosen else {}
        )

    def holds(self, cell: Cell) -> bool:
        """Whether a cell must wait until somebody has looked at the failures."""
        failures = self.failures()
        cause, count = Counter(failures.values()).most_common(1)[0] if failures else ("", 0)
        if count >= ALIKE:
            self.reason = f"{count} cells failed alike ({cause})"
            return True
        if cell.id not in self.canaries and cell.formulation in {
            self.canaries.get(other) for other in failures
        }:
            self.reason = f"the canary of {cell.formulation} failed"
            return True
        return False

    def failures(self) -> dict[str, str]:
        """The submission's cells that failed, with the hash of their traceback."""
        folder = self.submission.folder / "failures"
        names = os.listdir(folder) if folder.is_dir() else []
        return {cell: cause for cause, _, cell in (name.partition(".") for name in names)}
