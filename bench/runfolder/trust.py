"""Whether a run folder, or a file that holds code, may be used: only if other users cannot change it. As ssh does."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from bench.runfolder.shield import unsafe
from flowbench._core.errors import UserError

PARTS = ("", "cells", "code", "submissions")
"""The folders that are checked. Code is verified file by file before it runs (:mod:`bench.runfolder.shield`)."""


def check(out: Path) -> None:
    """Raises :class:`UserError` if another user owns a run folder or can write into it."""
    for part in PARTS:
        path = out / part
        if not os.path.lexists(path):
            continue
        try:
            why = unsafe(str(path))
        except OSError as error:
            raise UserError(f"--out {path}: {error.strerror or error}") from None
        if why:
            raise UserError(
                f"--out: {why}, so that another user's code could run: name another folder, "
                f"{close(path)}or add --trust-folder"
            )


def check_code(path: Path) -> None:
    """Raises :class:`UserError` if another user could change or replace a file that runs code when it is loaded.

    In a folder with the sticky bit, such as /tmp, others cannot replace it.
    """
    try:
        folder = path.resolve().parent
        held = os.stat(folder).st_mode & stat.S_ISVTX
        why = unsafe(str(path)) or (None if held else unsafe(str(folder)))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    if why:
        raise UserError(
            f"{path} holds code, and {why}: copy it into a folder that only you can write, and name that"
        )


def close(path: Path) -> str:
    """How to take the right to write from others, if the folder is the user's own."""
    return f"run chmod go-w {shlex.quote(str(path))}, " if path.stat().st_uid == os.geteuid() else ""
