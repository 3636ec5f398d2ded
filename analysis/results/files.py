"""Files of ours: read where they can be, and written whole: what was there before stays until the new one is complete."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flowbench._core.errors import UserError


def object_of(file: Path) -> dict[str, Any]:
    """The JSON object that a file holds; empty if it is not there, cannot be read or holds something else."""
    try:
        kept = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a file beside ``path``, and put it in its place. Whoever may read the folder may read the file.

    Raises what ``write`` raises, and ``OSError``; then ``path`` is as it was.
    """
    try:
        _write_whole(path, write)
    except FileNotFoundError:  # a command that began on this folder took it for one that was left behind
        _write_whole(path, write)


def write_page(path: Path, text: str, newline: str = "\n") -> None:
    """Write a text whole, with such line ends. Raises `UserError` if that cannot be."""
    try:
        write_whole(path, lambda new: new.write_text(text, encoding="utf-8", newline=newline))
    except OSError as error:  # which names the file beside it
        raise UserError(f"{str(path)!r} cannot be written: {error.strerror or error}") from error


def _write_whole(path: Path, write: Callable[[Path], object]) -> None:
    handle, name = tempfile.mkstemp(
        dir=path.parent, prefix=".new-"
    )  # as `bench.runfolder.store` names and sweeps them
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(path.parent.stat().st_mode & 0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
