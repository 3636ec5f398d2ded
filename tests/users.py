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
READS = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
"""They may read everything, so that they find Python in the home of root too. What they may write is theirs."""


def run(
    user: int, argv: Sequence[str], cwd: Path, shm: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Python as another user, with our packages and nothing else of this user's environment; without ``shm`` where
    ``/dev/shm`` cannot be written. Skips the test where that cannot be done."""
    switch = ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", *READS]
    hide = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs -o ro tmpfs /dev/shm || exit 1; exec "$@"',
        "sh",
    ]
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    usual = {
        "HOME": str(cwd),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [*([] if shm else hide), *switch, sys.executable, *argv],
        cwd=cwd,
        env=kept | usual | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.stderr.startswith(("setpriv: ", "unshare: ", "mount: ", "sh: ")):
        pytest.skip(f"no other user, or no mount, can be had here: {done.stderr.strip()}")
    return done


@contextmanager
def machine() -> Iterator[Path]:
    """A folder that every user can enter, with a home for each of the two. Skips the test where it cannot be."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can be two users, with setpriv")
    folder = Path(tempfile.mkdtemp(prefix="users-", dir="/tmp"))
    try:
        folder.chmod(0o755)
        for name, user in (("me", ME), ("other", OTHER)):
            (folder / name).mkdir(mode=0o755)
            os.chown(folder / name, user, user)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
