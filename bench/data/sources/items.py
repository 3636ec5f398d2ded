"""One picture to be loaded: its captions, or why it has none, and how its bytes are read."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from flowbench._core.errors import UserError

FILE_KEYS = ("file", "file_name", "filename", "image", "img", "image_path", "image_name", "path", "filepath")
CAPTION_KEYS = (
    "caption", "captions", "text", "texts", "prompt", "sentence", "sentences", "comment", "description", "raw", "txt",
)  # fmt: skip
"""Names of columns, without case and blanks, the preferred first."""

LARGEST_TEXT = 1 << 20
"""Most bytes of a caption's file."""
LARGEST_FILE = 1 << 28
"""Most bytes of an encoded picture."""


class Unreadable(Exception):
    """Why one item is left out, as the rest of a sentence that begins with its name."""


class Unreachable(UserError):
    """Why no item can be read now, such as a fault of the network: no fault of the items."""


def _nothing() -> bytes:
    raise Unreadable("it has no picture")


@dataclass(frozen=True)
class Item:
    """A picture by its ``name``, for messages; ``problem`` is why it is left out, if it is."""

    name: str
    captions: tuple[str, ...] = ()
    problem: str = ""
    read: Callable[[], bytes] = _nothing


@dataclass(frozen=True)
class Contents:
    """The items of a source, and notes on all of them."""

    items: list[Item]
    notes: list[str]


def read_file(path: str | Path, offset: int = 0, size: int = -1, most: int = LARGEST_FILE) -> bytes:
    """``size`` bytes of a regular file from ``offset`` on, or all the rest. Waits for no pipe.

    Raises:
        Unreadable: it is no regular file, or there are more than ``most`` bytes.
        OSError: it cannot be read.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise Unreadable("it is not a regular file")
        wanted = facts.st_size - offset if size < 0 else size
        if wanted > most:
            raise Unreadable(f"it has {wanted:,} bytes, more than the {most:,} that are read")
        file.seek(offset)
        return file.read(wanted)


def shown(name: str) -> str:
    """A name that can be printed anywhere: bytes that are not UTF-8 and control characters are escaped."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def captions_of(value: object) -> tuple[tuple[str, ...], str]:
    """The distinct captions in a text, a list of texts or an object with one; or none, and the problem."""
    found: dict[str, None] = {}
    problem = ""
    for raw in _texts(value, 3):
        try:
            found[one_line(raw)] = None
        except Unreadable as fault:
            problem = problem or str(fault)
    return tuple(found), "" if found else problem or "it has no caption"


def _texts(value: object, depth: int) -> Iterator[object]:
    if isinstance(value, dict) and depth:
        yield from _texts(next((value[k] for k in CAPTION_KEYS if k in value), None), depth - 1)
    elif isinstance(value, list | tuple) and depth:
        for part in value:
            yield from _texts(part, depth - 1)
    elif value is not None:
        yield value


def one_line(raw: object) -> str:
    """A caption on one line, in Unicode's composed form (NFC), so that one word has one spelling.

    Raises:
        Unreadable: it is no text, not UTF-8, or empty.
    """
    if isinstance(raw, bytes):
        try:
            raw = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        except UnicodeDecodeError:
            raise Unreadable("its caption is not UTF-8") from None
    if not isinstance(raw, str):
        raise Unreadable("its caption is no text")
    try:
        raw.encode()
    except UnicodeEncodeError:
        raise Unreadable("its caption is not UTF-8") from None
    text = " ".join(unicodedata.normalize("NFC", raw).split())
    if not text:
        raise Unreadable("its caption is empty")
    return text
