"""Where the time of a command goes: seconds by stage, each moment counted once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, get_args

Stage = Literal["start-up", "compile", "train", "generate", "metrics", "store"]
STAGES: tuple[Stage, ...] = get_args(Stage)


class Stages:
    """Adds up the seconds of each stage. A stage inside another one interrupts it."""

    def __init__(self, started: float | None = None) -> None:
        self.started = time.perf_counter() if started is None else started
        self.seconds: dict[Stage, float] = dict.fromkeys(STAGES, 0.0)
        self._since, self._now = self.started, None  # type: float, Stage | None

    @contextmanager
    def __call__(self, stage: Stage) -> Iterator[None]:
        """Count the time in this block to ``stage``."""
        before = self._turn(stage)
        try:
            yield
        finally:
            self._turn(before)

    def started_up(self) -> None:
        """Count everything until now that belongs to no other stage to ``start-up``."""
        self.seconds["start-up"] = time.perf_counter() - self.started - sum(self.seconds.values())

    def _turn(self, stage: Stage | None) -> Stage | None:
        now, before = time.perf_counter(), self._now
        if before:
            self.seconds[before] += now - self._since
        self._since, self._now = now, stage
        return before

    def report(self) -> dict[str, float]:
        """Seconds by stage, and their ``total`` since the start with what belongs to no stage."""
        found: dict[str, float] = {stage: round(seconds, 3) for stage, seconds in self.seconds.items()}
        return found | {"total": round(time.perf_counter() - self.started, 3)}


def sentence(seconds: Mapping[str, float]) -> str:
    """``train 102, generate 43``: the stages of half a second and more."""
    return ", ".join(f"{name} {s:.0f}" for name, s in seconds.items() if s >= 0.5 and name != "total")
