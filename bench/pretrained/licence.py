"""The licence that a folder states: in the card of a model or data set, or in what ``datasets`` of Hugging Face keeps.

A card is a ``README.md`` that begins with YAML between two lines ``---``; its ``license`` is a word, or a list of such.
"""

from __future__ import annotations

import re
from pathlib import Path

from bench.pretrained.hub import Place
from flowbench._core import atomic

CARD, ABOUT = "README.md", "dataset_info.json"


def of_model(place: Place) -> str | None:
    """The licence in the card of a model; None if it states none."""
    return of_card(place.file(CARD))


def of_data(path: Path) -> str | None:
    """The licence of a data set: of its folder, or of the one that a file is in; None if it states none."""
    folder = path.expanduser() if path.is_dir() else path.expanduser().parent
    stated = str(atomic.known_object(folder / ABOUT).get("license") or "")
    return of_card(folder / CARD) or in_a_line(stated) or None


def of_card(card: Path | None) -> str | None:
    """The licence in a card; None if there is no card, or it states none."""
    try:
        text = card.read_text(encoding="utf-8", errors="replace") if card else ""
    except OSError:
        return None
    front = re.match(r"---\s*\n(.*?)^---\s*$", text, re.DOTALL | re.MULTILINE)
    if not front:
        return None
    fields = dict(re.findall(r"^(\w+):[ \t]*(.*(?:\n[ \t]*-.*)*)", front[1], re.MULTILINE))
    words = [re.sub(r"#.*$|^[\s-]+|[\"'\[\]]", "", line) for line in fields.get("license", "").splitlines()]
    stated = ", ".join(word.strip() for word in words if word.strip())
    if stated == "other" and "license_name" in fields:
        stated = fields["license_name"]
    return in_a_line(stated) or None


def in_a_line(text: str) -> str:
    """A text without line breaks and what cannot be printed, at most 200 characters of it."""
    return "".join(c for c in " ".join(text.split()) if c.isprintable())[:200]
