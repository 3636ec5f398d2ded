"""Files of ours are written whole: what was there before stays until the new one is complete."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a file beside ``path``, and put it in its place. Whoever may read the folder may read the file.

    Raises what ``write`` raises, and ``OSError``; then ``path`` is as it was.
    """
    try:
        _write_whole(path, write)
    except FileNotFoundError:  # a command that began on this folder took it for one that was left behind
        _write_whole(path, write)


def _write_whole(path: Path, write: Callable[[Path], object]) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")  # as `bench.store` names and sweeps them
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(path.parent.stat().st_mode & 0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
