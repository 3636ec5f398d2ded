"""Measurements of one kind of work, kept in a file of the user's cache folder with their date and spread.

A measurement counts for a month, if its turns agreed with each other: on a busy machine they do not.
"""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flowbench._core import atomic
from flowbench._core.errors import UserError

STALE = timedelta(days=30)
"""Age from which a measurement is made again: the machine, its cooling or its neighbours may be others by then."""
SPREAD = 0.3
"""A median that is slower than the fastest turn by more than this share was measured on a busy machine."""


class Timings:
    """The measurements in a file, by name; ``work`` is written with them and describes what was measured."""

    def __init__(self, file: Path, work: dict[str, Any]) -> None:
        self.file = file
        self.known: dict[str, Any] = {"work": work}
        with suppress(UserError):  # not there, or damaged
            self.known |= atomic.read_object(file)

    def recall(self, key: str, count: int) -> tuple[float, ...] | None:
        """The ``count`` numbers of a measurement; None if there is none that counts."""
        kept = self.known.get(key)
        try:
            values = tuple(map(float, kept["values"]))  # type: ignore[index]
            age, spread = datetime.now(UTC) - datetime.fromisoformat(kept["measured"]), float(kept["spread"])  # type: ignore[index]
        except (KeyError, TypeError, ValueError):
            return None
        sound = len(values) == count and all(math.isfinite(v) and v > 0 for v in values)
        return values if sound and abs(age) < STALE and 0 <= spread <= SPREAD else None

    def remember(self, key: str, values: tuple[float, ...], spread: float) -> tuple[float, ...]:
        """Keep a measurement for later runs."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.known[key] = {"values": list(values), "measured": now, "spread": round(spread, 3)}
        with suppress(OSError):  # a cache that cannot be written costs a moment of the next run
            atomic.write_json(self.file, self.known)
        return values

    def forget(self) -> None:
        """Measure everything of this work again next time."""
        self.known = {"work": self.known["work"]}
        with suppress(OSError):
            self.file.unlink(missing_ok=True)
