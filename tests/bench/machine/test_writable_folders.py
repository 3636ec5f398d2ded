"""A home, a temporary folder, a cache or shared memory that cannot be written: each alone, by a user who is not root."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ... import users
from ...users import ME

CLOSED = "/proc/closed"
"""A folder that cannot be made."""
TINY = [
    "-m", "bench.grid", "--preset", "smoke", "--formulations", "rf", "--train-images", "32", "--validation-images", "16",
    "--steps", "4", "--batch", "8", "--validations", "2", "--validation-batch", "16", "--settings", "2:1", "--samples", "8",
    "--weights", "ema", "--device", "cpu", "--compile", "off", "--out",
]  # fmt: skip
SAID = {
    "HOME": f"{CLOSED}/.cache cannot be written: images, timings and compiled code are kept for this command only",
    "XDG_CACHE_HOME": f"{CLOSED} cannot be written: images, timings and compiled code are kept for this command only",
    "TMPDIR": f"TMPDIR {CLOSED} cannot be written: /tmp is used",
    "TORCHINDUCTOR_CACHE_DIR": f"TORCHINDUCTOR_CACHE_DIR {CLOSED} cannot be written: a temporary folder is used",
    "MPLCONFIGDIR": f"MPLCONFIGDIR {CLOSED} cannot be written: a temporary folder is used",
    "/dev/shm": "/dev/shm cannot be written: code is compiled by one process",
}
SETTLE = """if True:
    import json, os
    from bench.machine import writable_folders
    said = []
    writable_folders.settle(said.append)
    writable_folders.settle(said.append)
    names = ("XDG_CACHE_HOME", "TMPDIR", *writable_folders.LIBRARIES)
    chosen = {name: os.environ[name] for name in names if name in os.environ}
    shut = [f for f in chosen.values() if not os.path.isdir(f) and not writable_folders.writable(writable_folders.Path(f))]
    open_ = [f for f in chosen.values() if os.path.isdir(f) and os.stat(f).st_mode & 0o022 and f != "/tmp"]
    print(json.dumps([said, chosen, shut, open_]))
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[Path]:
    with users.machine() as found:
        yield found


@pytest.fixture
def home(machine: Path) -> Path:
    """With a new home."""
    for path in (machine / "me").iterdir():
        shutil.rmtree(path)
    return machine / "me"


def without(name: str) -> dict[str, str]:
    return {name: CLOSED} if name != "/dev/shm" else {}


@pytest.mark.parametrize("name", SAID)
def test_what_cannot_be_written_is_replaced_and_said_once(name: str, home: Path) -> None:
    done = users.run(ME, ["-c", SETTLE], home, name != "/dev/shm", **without(name))
    assert done.returncode == 0, done.stderr
    said, chosen, shut, open_to_others = json.loads(done.stdout)
    assert said[0] == SAID[name]
    assert said[1:] == [SAID[name]] * (name == "/dev/shm"), (
        "it stays as it is, and is said by one command once"
    )
    assert not shut
    assert not open_to_others
    assert CLOSED not in str(chosen)
    replaced = [
        folder for folder in chosen.values() if "flowbench-" in Path(folder).parent.name + Path(folder).name
    ]
    assert not any(Path(folder).exists() for folder in replaced), "it went with the process"


def test_where_all_can_be_written_nothing_is_said(home: Path) -> None:
    done = users.run(ME, ["-c", SETTLE], home)
    said, chosen, _, _ = json.loads(done.stdout)
    assert said == []
    assert chosen == {"TORCHINDUCTOR_CACHE_DIR": f"{home}/.cache/flowbench/inductor"}


@pytest.mark.long
@pytest.mark.parametrize("name", SAID)
def test_a_grid_runs_without(name: str, home: Path) -> None:
    """Without a home as on compute nodes and in containers; the user has no name either."""
    done = users.run(ME, [*TINY, str(home / "run")], home, name != "/dev/shm", **without(name))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(SAID[name]) == 1
    assert "rf" in done.stdout
    assert "failed" not in done.stderr
