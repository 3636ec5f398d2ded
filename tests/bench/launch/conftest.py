"""Commands of a tiny grid, and workers that can be killed anywhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import grid as command_line
from bench.launch import activities
from bench.launch.supervisor import Supervisor
from bench.training import feed
from flowbench._core import atomic

from . import forks
from .commands import PLUGIN, command, start, until
from .forks import outcome

Whole = Callable[..., dict[str, Any]]
Ends = list[tuple[int, str]]
"""Before which change of files with which name a worker is killed."""


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are short in this process: neither between the deaths of a worker nor between looks."""
    real = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: real(min(seconds, 0.01)))


@pytest.fixture(scope="session")
def workers() -> Iterator[forks.Forks]:
    """Starts workers in a moment."""
    with forks.started() as found:
        yield found


@pytest.fixture
def forked(workers: forks.Forks, monkeypatch: pytest.MonkeyPatch) -> Ends:
    """Lets supervisors start such workers. The first are killed before a change of a file, and the supervisors end too."""
    ends: Ends = []

    def attempt(self: Supervisor, alone: bool) -> int:
        die, at = ends.pop(0) if ends else (None, "")
        if die:
            self.stop("the end of the world")
        return workers.start(self.submission, self.index, self.token, *["--alone"] * alone, die=die, at=at)[0]

    monkeypatch.setattr(Supervisor, "attempt", attempt)
    return ends


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the plugin lies, and the files that steer it."""
    (tmp_path / "mine.py").write_text(PLUGIN)
    monkeypatch.setattr(feed, "CHUNK", feed.CHUNK)  # which the plugin changes
    monkeypatch.setenv("FLOWBENCH_TEST", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


@pytest.fixture(scope="session")
def kept() -> dict[tuple[str, ...], dict[str, Any]]:
    return {}


@pytest.fixture
def undisturbed(here: Path, forked: Ends, kept: dict[tuple[str, ...], dict[str, Any]]) -> Whole:
    """What becomes of formulations if nothing happens."""

    def make(*formulations: str) -> dict[str, Any]:
        if formulations not in kept:
            (here / "memory").touch()
            assert command_line.main(command(here, here / "undisturbed", *formulations)) == 0
            (here / "memory").unlink()
            (here / "reached").unlink(missing_ok=True)
            kept[formulations] = outcome(here / "undisturbed")
        return kept[formulations]

    return make


@pytest.fixture
def held(here: Path) -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Starts the command, and returns when its worker has trained some steps and is held there."""
    processes = []

    def make(out: Path) -> subprocess.Popen[str]:
        (here / "hold").touch()
        processes.append(process := start(command(here, out, "my/held")))
        until((here / "reached").exists, process)
        return process

    yield make
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Lets the commands of a run folder be processes that have ended, and their workers have been silent for a while."""
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
    process.wait()
    monkeypatch.setattr(activities, "FADING_SECONDS", 0.2)

    def make(out: Path) -> None:
        for file in out.glob("submissions/*/submission.json"):
            atomic.write_json(file, atomic.read_object(file) | {"pid": process.pid})

    return make
