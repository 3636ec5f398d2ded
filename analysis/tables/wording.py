"""Counts and lists of names in words."""

from __future__ import annotations

from collections.abc import Sequence


def count(number: int, what: str) -> str:
    """``1 seed``, ``2 seeds``, ``1,000 cells``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def names(values: Sequence[str], most: int = 4) -> str:
    """A few names, and how many more there are."""
    shown = ", ".join(values[:most])
    return shown + (f" and {len(values) - most} more" if len(values) > most else "")


def series(values: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(values[:-1]), *values[-1:]]))


def others(number: int) -> str:
    """``the other``, ``both others``, ``all 5 others``."""
    return {1: "the other", 2: "both others"}.get(number, f"all {number:,} others")
