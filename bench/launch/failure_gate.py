"""Holds cells back while others show that they would fail too: no torch, and decided from files by every worker."""

from __future__ import annotations

import os
from collections import Counter
from functools import cached_property

from bench.config.experiment import Cell
from bench.planning.cells import every_cell
from bench.runfolder import lease
from bench.runfolder.failure import Failure
from bench.runfolder.submission import Submission

ALIKE = 3
"""So many cells of a formulation that failed with the same traceback hold its others; so many formulations hold all."""


class Gate:
    """Decides before a pack begins; ``reason`` is why the last cell was held, and ``cause`` that of the failures."""

    def __init__(self, submission: Submission) -> None:
        self.submission, self.reason, self.cause = submission, "", ""
        self.canaries = {cell for share in submission.shares if share.canary for cell in share.cells}

    @cached_property
    def formulations(self) -> dict[str, str]:
        """Of every cell of the submission, by id."""
        ours = {cell for share in self.submission.shares for cell in share.cells}
        return {cell.id: cell.formulation for cell in every_cell(self.submission.grid) if cell.id in ours}

    def holds(self, cell: Cell) -> bool:
        """Whether a cell must wait until the user has seen the failures."""
        failures = self.failures()
        for cause in sorted(set(failures.values())):
            alike = [other for other, why in failures.items() if why == cause]
            kinds = Counter(self.formulations.get(other, "") for other in alike)
            own, everywhere = kinds[cell.formulation], min(ALIKE, len(set(self.formulations.values())))
            found = ""
            if len(alike) >= ALIKE and len(kinds) >= everywhere:
                found = f"{len(alike)} cells"
            elif own >= ALIKE:
                found = f"{own} cells of {cell.formulation}"
            if found:
                self.reason, self.cause = f"{found} failed alike: {self.error(alike[0])}", cause
                return True
        canaries = {self.formulations[other] for other in self.canaries & failures.keys()}
        if cell.formulation in canaries and cell.id not in self.canaries:
            self.reason, self.cause = f"the canary of {cell.formulation} failed", "canary"
            return True
        return False

    def failures(self) -> dict[str, str]:
        """The submission's cells that failed, with the hash of their traceback."""
        folder = self.submission.folder / "failures"
        names = os.listdir(folder) if folder.is_dir() else []
        return {cell: cause for cause, _, cell in (name.partition(".") for name in names)}

    def error(self, cell: str) -> str:
        """The sentence of a failure."""
        status = lease.read(self.submission.out / "cells" / cell / "status.json")
        failure = Failure.read(status.get("error"))
        return failure.message if failure else "see --status"
