"""Folders outside of the run folder that we and libraries write to, and replacements of those that are closed. No torch."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from flowbench._core.errors import UserError

INDUCTOR = "TORCHINDUCTOR_CACHE_DIR"
LIBRARIES = {INDUCTOR: "inductor", "TRITON_CACHE_DIR": "triton", "MPLCONFIGDIR": "matplotlib"}
"""Variables by which libraries are given a folder, and its name in our cache where theirs cannot be written.

Inductor's is always set: its own default lies in /tmp, under a name that others can take first.
"""


def settle(say: Callable[[str], None]) -> None:
    """Let this process, and those that it starts, find folders that can be written; ``say`` gets a sentence a replacement.

    Looks at ``TMPDIR``, the home, ``XDG_CACHE_HOME``, the folders of :data:`LIBRARIES` and ``/dev/shm``, each alone. Raises
    :class:`UserError` if there is no temporary folder at all.
    """
    temporary = os.environ.get("TMPDIR")
    if temporary and not writable(Path(temporary)):
        os.environ["TMPDIR"] = temporary_folder()
        say(f"TMPDIR {temporary} cannot be written: {os.environ['TMPDIR']} is used")
    home = user_home()
    named = os.environ.get("XDG_CACHE_HOME")
    cache = Path(named) if named else home and home / ".cache"
    if cache is None or not writable(cache / "flowbench"):
        os.environ["XDG_CACHE_HOME"] = replacement()
        why = f"{cache} cannot be written" if cache else "there is no home"
        say(f"{why}: images, timings and compiled code are kept for this command only")
        cache = Path(replacement())
    usual = home is not None and writable(home)
    for variable, name in LIBRARIES.items():
        chosen = os.environ.get(variable)
        if chosen and not writable(Path(chosen)):
            os.environ[variable] = os.path.join(replacement(), name)
            say(f"{variable} {chosen} cannot be written: a temporary folder is used")
        elif not chosen and (variable == INDUCTOR or not usual):
            os.environ[variable] = str(cache / "flowbench" / name)
    if os.path.isdir("/dev/shm") and not writable(Path("/dev/shm")):
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # more would be processes with shared locks
        say("/dev/shm cannot be written: code is compiled by one process")


def user_home() -> Path | None:
    """The user's home; None for a user who has none."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def writable(folder: Path) -> bool:
    """Whether files can be made in a folder, which is made if it is not there."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def temporary_folder() -> str:
    """Where temporary files go. Raises :class:`UserError` if there is no such place."""
    try:
        tempfile.tempdir = None  # found anew
        return tempfile.gettempdir()
    except FileNotFoundError:
        raise UserError("no temporary folder can be written: set TMPDIR to one that can be") from None


@functools.cache
def replacement() -> str:
    """A private folder that lives as long as this process."""
    folder = tempfile.mkdtemp(prefix="flowbench-", dir=temporary_folder())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
