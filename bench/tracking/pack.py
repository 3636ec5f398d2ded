"""The logs of the cells that a worker trains together."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.config.experiment import Cell
from bench.config.identity import full
from bench.config.settings import CONTROL
from bench.tracking.base import About, Log, get


class Tracked:
    """Logs the cells of a pack with the tracker of a name, a log a cell; with none if that is None.

    An error of the service ends tracking, and never a training; ``say`` takes a sentence about it.
    """

    def __init__(
        self, name: str | None, cells: Sequence[Cell], out: Path, say: Callable[[str], None]
    ) -> None:
        self.name, self.cells, self.out, self.say = name, cells, out, say
        self.logs: dict[int, Log] = {}

    def __enter__(self) -> Tracked:
        return self

    def __exit__(self, *raised: object) -> None:
        for log in self.logs.values():
            self._try(log.finish)
        self.logs = {}

    def validated(self, member: int, lines: Sequence[Mapping[str, Any]]) -> None:
        """Log the last of a member's lines of ``metrics.jsonl``: losses, and steps a second since the line before it.

        The first call gives the lines of a training that is continued, or none.
        """
        known = member in self.logs
        self._start(member, lines[-1]["step"] if lines else 0)
        if known and lines:
            line, before = lines[-1], lines[-2] if len(lines) > 1 else {"step": 0, "seconds": 0.0}
            seconds = line["seconds"] - before["seconds"]
            values = {
                "train/loss": line["train_loss"],
                "validation/loss": line["val_loss"],
                "train/steps_per_second": (line["step"] - before["step"]) / seconds if seconds > 0 else None,
            }
            self._log(member, line["step"], values)

    def measured(self, member: int, settings: Mapping[str, Mapping[str, float | None]]) -> None:
        """Log what was measured of a trained cell, by control setting: ``fid/ema-50-2.5``."""
        step = self.cells[member].training.steps
        self._start(member, step)
        values = {
            f"{name}/{setting}": value
            for setting, found in settings.items()
            for name, value in found.items()
            if name not in CONTROL
        }
        self._log(member, step, values)

    def _start(self, member: int, step: int) -> None:
        if self.name is None or member in self.logs:
            return
        cell = self.cells[member]
        name = re.sub(r"[^\w.(),=-]+", "-", f"{cell.formulation} {cell.dataset} seed{cell.seed} {cell.id}")
        about = About(self.out, cell.id, name, full(cell), step)
        self._try(lambda: self.logs.update({member: get(self.name or "").start(about)}))

    def _log(self, member: int, step: int, values: Mapping[str, float | None]) -> None:
        if member in self.logs:
            finite = {name: value for name, value in values.items() if value is not None}
            self._try(lambda: self.logs[member].log(step, finite))

    def _try(self, act: Callable[[], object]) -> None:
        if self.name is None:
            return
        try:
            act()
        except Exception as error:  # of a service: a network, a disk, an account
            self.say(f"--track {self.name} ends here: {type(error).__name__}: {' '.join(str(error).split())}")
            self.name, self.logs = None, {}
