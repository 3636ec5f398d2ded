"""Whether a run folder may be used: what lies in it decides what code is run, and what is overwritten. As ssh does."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from bench.launch.shield import unsafe
from samplers.errors import UserError

PARTS = ("", "cells", "code", "submissions")
"""The folders that are looked at. What is run is verified file by file (:mod:`bench.launch.shield`)."""


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


def close(path: Path) -> str:
    """How to take the right to write from others, if the folder is the user's own."""
    return f"run chmod go-w {shlex.quote(str(path))}, " if path.stat().st_uid == os.geteuid() else ""
