"""Patterns of names: ``a-{08..11}.tar``."""

from __future__ import annotations

import re


def expand_braces(text: str) -> list[str]:
    """``a-{08..11}`` to four strings, ``{a,b}`` to two; several braces multiply, other text stays."""
    match = re.search(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}", text)
    if not match:
        return [text]
    low, high, words = match.groups()
    if words is not None:
        middle = words.split(",")
    else:
        width = len(low)
        middle = [str(n).zfill(width) for n in range(int(low), int(high) + 1)]
    tails = expand_braces(text[match.end() :])
    return [text[: match.start()] + m + tail for m in middle for tail in tails]
