"""Prose in plain English: words that this project once used in senses of its own stay out of code, tests and pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import flowbench

ROOT = Path(flowbench.ROOT)
FOLDERS = (*flowbench.PACKAGES, "flowbench", "examples", "tests")
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(ROOT.glob("[a-z]*/README.md")),
    *sorted((ROOT / "analysis").rglob("*.html")),
]
SOURCES = [
    file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py")) if file != Path(__file__)
]

PEOPLE = ("nobody", "somebody", "anybody", "whoever", "whom", "is at it")
"""Processes and files are no persons."""
SPEECH = ("told", "knows")
"""Data do not speak, and do not know."""
IDIOMS = ("beside", "that which", "of which", "what is missing", "at its end", "goes? on", "in the place of")
"""Headless relatives, and words for next to, the end, continues, instead of."""
NAMES = ("heart", "Looker", "Keeper", "Doing", "situation", "amounts", "effort")
"""Names that had synonyms in the field: heartbeat, checkpointer, activity, requirements, workload."""
WORDS = "|".join(word.replace(" ", "[ _]") for word in (*PEOPLE, *SPEECH, *IDIOMS, *NAMES))
ODD = re.compile(rf"(?<![^\W_])({WORDS})(?![^\W_])", re.IGNORECASE)
"""In names, too, whose words are separated by underscores."""


@pytest.mark.parametrize("file", [*PAGES, *SOURCES], ids=lambda file: str(file.relative_to(ROOT)))
def test_words_have_their_usual_meaning(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    odd = [f"{n}: {found[0]}" for n, line in enumerate(lines, 1) for found in ODD.finditer(line)]
    assert odd == []
