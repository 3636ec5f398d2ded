"""Two real users of one machine, for tests that are run by root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ME, OTHER = 61001, 61002
"""Numbers of users that this machine does not have."""


def run(user: int, argv: Sequence[str], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Python as another user, with our packages and nothing else of this user's environment."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    usual = {
        "HOME": str(cwd),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(
        [sys.executable, *argv],
        cwd=cwd,
        env=kept | usual | environment,
        user=user,
        group=user,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=300,
    )


@contextmanager
def machine() -> Iterator[Path]:
    """A folder that every user can enter, with a home for each of the two. Skips the test where it cannot be."""
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    folder = Path(tempfile.mkdtemp(prefix="flowbench-users-"))
    try:
        folder.chmod(0o755)
        for name, user in (("me", ME), ("other", OTHER)):
            (folder / name).mkdir(mode=0o755)
            os.chown(folder / name, user, user)
        if run(ME, ["-c", "import bench.plan"], folder / "me").returncode:
            pytest.skip("other users cannot read these packages")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
