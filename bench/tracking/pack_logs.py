"""The logs of the cells that a worker trains together."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.config.experiment import Cell
from bench.config.identity import full
from bench.config.sampling_settings import CONTROL
from bench.tracking.tracker import About, Log, get


class Tracked:
    """Logs the cells of a pack with the tracker of a name, a log a cell; with none if that is None.

    All logs begin at once, so that the first step waits for no service; ``step`` is the one that training continues from. An
    error of the service ends tracking, and never a training; ``say`` takes a sentence about it.
    """

    def __init__(
        self, name: str | None, cells: Sequence[Cell], out: Path, step: int, say: Callable[[str], None]
    ) -> None:
        self.name, self.step, self.say = name, step, say
        self.logs: list[Log] = []
        for cell in cells:
            self._try(partial(self._begin, cell, out))

    def _begin(self, cell: Cell, out: Path) -> None:
        words = f"{cell.formulation} {cell.dataset} seed{cell.seed} {cell.id}"
        about = About(out, cell.id, re.sub(r"[^\w.(),=-]+", "-", words), full(cell), self.step)
        self.logs.append(get(self.name or "").start(about))

    def __enter__(self) -> Tracked:
        return self

    def __exit__(self, *raised: object) -> None:
        for log in self.logs:
            self._try(log.finish)

    def validated(self, member: int, lines: Sequence[Mapping[str, Any]]) -> None:
        """Log the last of a member's lines of ``metrics.jsonl``, if it is new: losses, and steps per second since the one
        before."""
        if not lines or lines[-1]["step"] <= self.step:
            return
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
        values = {
            f"{name}/{setting}": value
            for setting, found in settings.items()
            for name, value in found.items()
            if name not in CONTROL
        }
        self._log(member, self.step, values)

    def _log(self, member: int, step: int, values: Mapping[str, float | None]) -> None:
        known = {name: value for name, value in values.items() if value is not None}
        self._try(lambda: self.logs[member].log(step, known))

    def _try(self, act: Callable[[], object]) -> None:
        if self.name is None:
            return
        try:
            act()
        except Exception as error:  # of a service: a network, a disk, an account
            self.say(f"--track {self.name} ends here: {type(error).__name__}: {' '.join(str(error).split())}")
            self.name = None
