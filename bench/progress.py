"""Live progress: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_EVERY = 10.0
"""Seconds between plain lines."""


class Display:
    """Shows the share of all work that is done, and what is being done."""

    def __init__(self) -> None:
        self.shown = ""
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

    def show(self, stage: str, text: str, share: float) -> None:
        """What is being done, and the share of everything that is done."""
        if self.bars:
            self.bars.update(self.task, completed=share, description=f"{stage}: {text}")
        elif text and text != self.shown and time.monotonic() - self.spoken > PLAIN_EVERY:
            self.spoken, self.shown = time.monotonic(), text
            self.say(f"{stage}: {text}")
