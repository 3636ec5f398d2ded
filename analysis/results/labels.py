"""Labels that identify rows: one spelling of each, and a warning of two that look alike."""

from __future__ import annotations

import re
import unicodedata
import warnings
from typing import Any

from flowbench._core.errors import Notice
from flowbench._core.grammar import numbers_in_glob

OURS = re.compile(r"(rf|edm|x|eps|v|u|F)(?=[/(@+]|$)")
"""How the names of our formulations begin; numbers in them have one spelling."""


def canonical(name: str) -> str:
    """A formulation's name with its numbers as we spell them, if the name is of our grammar:
    ``rf/lognorm(0.00,1.00)`` of ``rf/lognorm(0, 1)``."""
    return numbers_in_glob(name) if OURS.match(name) else name


def appearance(label: str) -> str:
    """What a reader may take two labels for: without case, blanks and ways to encode a letter."""
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", label).casefold())


def warn_of_lookalikes(labels: Any, column: str, where: str) -> None:
    """A `Notice` for the labels of a column that look alike and differ."""
    groups: dict[str, list[str]] = {}
    for label in dict.fromkeys(map(str, labels)):
        groups.setdefault(appearance(label), []).append(label)
    for alike in groups.values():
        if len(alike) > 1:
            same = len({unicodedata.normalize("NFC", label) for label in alike}) == 1
            spelled = " and ".join(map(ascii if same else repr, alike))
            sentence = f"{where}: {column} {spelled} look alike, and are taken for {len(alike)}"
            warnings.warn(sentence, Notice, stacklevel=3)
