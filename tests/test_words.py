"""Prose in plain English: words that this project once used in senses of its own stay out of code and pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import flowbench

ROOT = Path(flowbench.ROOT)
PACKAGES = ("analysis", "bench", "flowbench", "formulations", "samplers")
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(ROOT.glob("*/README.md")),
]
SOURCES = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]

PEOPLE = ("nobody", "somebody", "whoever", "whom", "is at it")
"""Processes and files are no persons."""
SPEECH = ("told", "knows")
"""Data do not speak, and do not know."""
IDIOMS = ("beside", "that which", "what is missing", "at its end", "goes on", "in the place of")
"""Headless relatives, and words for next to, the end, continues, instead of."""
NAMES = ("heart", "Looker", "Keeper", "Doing", "situation", "amounts", "effort")
"""Names that had synonyms in the field: heartbeat, checkpointer, activity, requirements, workload."""
ODD = re.compile(rf"\b({'|'.join((*PEOPLE, *SPEECH, *IDIOMS, *NAMES))})\b", re.IGNORECASE)


@pytest.mark.parametrize("file", [*PAGES, *SOURCES], ids=lambda file: str(file.relative_to(ROOT)))
def test_words_have_their_usual_meaning(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    odd = [f"{n}: {found[0]}" for n, line in enumerate(lines, 1) for found in ODD.finditer(line)]
    assert odd == []
