"""Disks that fill up or become read-only: small file systems in memory, which only root may mount."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(folder: Path, kibibytes: int) -> Iterator[Path]:
    """A file system of so many KiB at ``folder``. Skips the test where it cannot be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    size = f"size={kibibytes}k"
    done = run("mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder))
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        run("umount", "--lazy", str(folder))


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A process that opens a file in a folder finds it read-only; what is open stays so, as it keeps it mounted."""
    for options in (("--bind", str(folder)), ("-o", "remount,bind,ro")):
        done = run("mount", *options, str(folder))
        if done.returncode:
            pytest.skip(f"nothing can be mounted read-only here: {done.stderr.strip()}")
    try:
        yield
    finally:
        run("umount", "--lazy", str(folder))


def fill(folder: Path, leave: int = 0) -> Path:
    """Take what is free in a file system but ``leave`` bytes; returns the file that holds it."""
    file = folder / "filler"
    with file.open("wb", buffering=0) as open_file:
        try:
            while True:
                open_file.write(bytes(4096))
        except OSError:
            pass
        open_file.truncate(max(0, open_file.tell() - leave))
    return file


def run(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))
