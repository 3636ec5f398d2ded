"""Live progress: stage, bar, percent, rate, elapsed and remaining time on a terminal of any width, plain lines elsewhere."""

from __future__ import annotations

import logging
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

log = logging.getLogger(__name__)

PLAIN = 10.0, 300.0
"""Seconds between plain lines: at first, and at most; between them a tenth of the time that has passed."""
BAR = 5, 30
"""Columns of the bar, at least and at most."""
GAP = "  "


@dataclass(frozen=True)
class Now:
    """The present work: ``share`` of everything is done; ``rate`` and ``left`` are words, empty while unknown."""

    stage: str = "start"
    text: str = "loading torch"
    share: float = 0.0
    rate: str = ""
    left: str = ""

    @property
    def what(self) -> str:
        """The stage and the work in it."""
        return f"{self.stage}: {self.text}" if self.text else self.stage

    def plain(self) -> str:
        """As a line of a log."""
        share = f"{self.share:.0%}" if self.share else ""
        return ", ".join(filter(None, (self.what, share, self.rate, self.left)))

    def lines(self, width: int, seconds: float, ascii_only: bool = False) -> list[str]:
        """As lines of at most ``width`` columns; a part that does not fit stands on the next one, and none is cut."""
        full, empty = ("#", "-") if ascii_only else ("━", "─")
        columns = max(BAR[0], min(BAR[1], width - 5))
        done = int(columns * min(1.0, self.share))
        bar = f"{full * done}{empty * (columns - done)} {self.share:4.0%}"
        return arranged([self.what, bar, self.rate, clock(seconds), self.left], width)


def arranged(parts: Sequence[str], width: int) -> list[str]:
    """Parts side by side, as many on a line as fit; one that is longer than a line is wrapped between words."""
    lines: list[str] = []
    for part in filter(None, parts):
        if lines and len(lines[-1]) + len(GAP) + len(part) <= width:
            lines[-1] += GAP + part
        else:
            lines += textwrap.wrap(part, width, break_long_words=False, break_on_hyphens=False)
    return lines


def clock(seconds: float) -> str:
    """``1:23`` or ``1:02:03``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Display:
    """Shows how much of all work is done, and what is being done; ``--quiet`` neither."""

    def __init__(self) -> None:
        self.now, self.shown = Now(), ""
        self.console = Console(stderr=True)
        self.started = self.spoken = time.monotonic()
        self.live: Live | None = None
        terminal = self.console.is_terminal and not self.console.is_dumb_terminal
        if terminal and log.isEnabledFor(logging.INFO):
            self.live = Live(self, console=self.console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Display:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *raised: object) -> None:
        if self.live:
            self.live.stop()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = self.now.lines(options.max_width, self.elapsed, options.ascii_only)
        yield Text("\n".join(lines), overflow="fold")

    @property
    def elapsed(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self.started

    def say(self, text: str, level: int = logging.INFO) -> None:
        """Log a line that stays, above the live ones."""
        log.log(level, "[%5.0f s] %s", self.elapsed, text)

    def show(self, now: Now) -> None:
        """Show the present work; without a terminal print a line now and then, seldom in a long run."""
        self.now = now
        pause = min(max(PLAIN[0], self.elapsed / 10), PLAIN[1])
        if self.live or time.monotonic() - self.spoken <= pause or now.what == self.shown:
            return
        self.spoken, self.shown = time.monotonic(), now.what
        self.say(now.plain())
