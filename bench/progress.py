"""Live progress: two bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_EVERY = 10.0
"""Seconds between plain lines."""


class Display:
    """Shows the share of all packs that is done, and what the present pack is doing."""

    def __init__(self) -> None:
        self.packs, self.pack, self.label = 1, 0, ""
        self.console = Console(stderr=True)
        self.started = self.spoken = time.monotonic()
        self.bars: Progress | None = None
        if self.console.is_terminal:
            self.bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:3.0f}%"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self.task = self.bars.add_task("starting", total=1.0)

    def __enter__(self) -> Display:
        if self.bars:
            self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bars:
            self.bars.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        seconds = time.monotonic() - self.started
        if self.bars:
            self.bars.console.print(f"[{seconds:5.0f} s] {text}", markup=False, highlight=False)
        else:
            print(f"[{seconds:5.0f} s] {text}", file=sys.stderr, flush=True)

    def begin(self, number: int, packs: int, label: str) -> None:
        """The pack that is worked on next, counted from 0, of ``packs``."""
        self.pack, self.packs, self.label = number, packs, label
        self.say(f"pack {number + 1} of {self.packs}: {label}")

    def __call__(self, stage: str, text: str, share: float) -> None:
        """Progress inside the present pack; training counts for one half of it."""
        inside = share / 2 if stage == "train" else 0.5 + share / 2
        if self.bars:
            self.bars.update(
                self.task, completed=(self.pack + inside) / self.packs, description=f"{stage}: {text}"
            )
        elif time.monotonic() - self.spoken > PLAIN_EVERY or share >= 1:
            self.spoken = time.monotonic()
            self.say(f"{stage}: {text}")
