"""The right to write: fences, leases, and whether a worker is believed to be alive, whatever the clock says."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.runfolder import lease
from bench.runfolder.lease import Fenced, Lease, Taken
from bench.runfolder.submission import Share, Submission
from flowbench._core import atomic

DAY = 86_400.0


@pytest.fixture
def made(submit: Callable[..., Submission]) -> Submission:
    return submit(shares=[Share(("a",)), Share(("b",))], code="none")


@pytest.fixture(scope="module")
def living() -> Iterator[int]:
    """The number of a process that lives."""
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that is gone."""
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
    process.wait()
    return process.pid


def supervised(made: Submission, index: int, token: str, state: str = "running", **more: Any) -> None:
    """What a share's supervisor writes."""
    kept = {"token": token, "state": state, "restart": 0, "pid": os.getpid(), **lease.stamp()} | more
    atomic.write_json(made.state_file(index), kept)


def aged(file: Path, seconds: float) -> None:
    """Let a file look as if it had been written so long ago."""
    when = time.time() - seconds
    os.utime(file, (when, when))


def test_a_worker_is_fenced_when_its_share_names_another(made: Submission) -> None:
    supervised(made, 0, "mine")
    mine = Lease(made, 0, "mine")
    mine.check()
    supervised(made, 0, "newer")
    with pytest.raises(Fenced, match="taken over by a newer worker"):
        mine.check()
    made.state_file(0).unlink()
    with pytest.raises(Fenced):
        mine.check()


def test_a_damaged_file_fences_no_worker(made: Submission, tmp_path: Path) -> None:
    """Only another's name does: a share that stopped for noise would not be run at all."""
    supervised(made, 0, "mine")
    mine = Lease(made, 0, "mine")
    assert mine.take(tmp_path)
    made.state_file(0).write_bytes(b"\x00noise")
    (tmp_path / "lease.json").write_text("{")
    mine.guard([tmp_path])


def test_a_cell_is_taken_once_and_given_back(made: Submission, tmp_path: Path) -> None:
    for index in (0, 1):
        supervised(made, index, f"token {index}")
    first, second = (Lease(made, index, f"token {index}") for index in (0, 1))
    assert first.take(tmp_path)
    assert first.take(tmp_path), "it is mine already"
    assert not second.take(tmp_path)
    first.guard([tmp_path])
    with pytest.raises(Taken, match="another worker's now"):
        second.guard([tmp_path])
    second.release(tmp_path)
    first.guard([tmp_path])
    first.release(tmp_path)
    assert not (tmp_path / "lease.json").exists()
    with pytest.raises(Taken):
        first.guard([tmp_path])
    assert second.take(tmp_path)


@pytest.mark.parametrize("state", ["settled", "saved", "killed", "fenced", "unwritable"])
def test_the_cell_of_a_worker_that_has_ended_can_be_taken(
    state: str, made: Submission, tmp_path: Path
) -> None:
    for index in (0, 1):
        supervised(made, index, f"token {index}")
    assert Lease(made, 0, "token 0").take(tmp_path)
    supervised(made, 0, "token 0", state)
    assert Lease(made, 1, "token 1").take(tmp_path)


def test_a_later_start_of_the_same_share_takes_its_cells(made: Submission, tmp_path: Path) -> None:
    supervised(made, 0, "first")
    assert Lease(made, 0, "first").take(tmp_path)
    supervised(made, 0, "second", restart=1)
    assert Lease(made, 0, "second").take(tmp_path)
    with pytest.raises(Fenced):
        Lease(made, 0, "first").guard([tmp_path])


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"token": 3}', '{"submission": 1, "share": "x"}'])
def test_a_damaged_lease_holds_nothing(damage: str, made: Submission, tmp_path: Path) -> None:
    supervised(made, 1, "mine")
    (tmp_path / "lease.json").write_text(damage)
    assert Lease(made, 1, "mine").take(tmp_path)


def held_by(made: Submission, **state: Any) -> bool:
    """Whether share 0, whose supervisor wrote this, is believed to hold its cell."""
    supervised(made, 0, "other", **state)
    held = {"token": "other", "submission": made.id, "share": 0}
    return lease.alive(made.out, held, made, 1)


def test_a_worker_of_this_machine_whose_supervisor_is_gone_holds_nothing(
    made: Submission, living: int, dead: int
) -> None:
    """At once, not when its heartbeat is old."""
    assert held_by(made, pid=living)
    assert not held_by(made, pid=dead)
    assert held_by(made, pid=dead, host="elsewhere"), "numbers of other machines' processes say nothing here"


@pytest.mark.parametrize("seconds", [-DAY, DAY], ids=["future", "past"])
def test_a_worker_of_this_machine_is_believed_whatever_the_clock_says(
    seconds: float, made: Submission, living: int
) -> None:
    """Its heartbeat carries a clock that cannot be set."""
    assert held_by(made, pid=living)
    atomic.write_json(made.beat_file(0), {"token": "other", **lease.stamp()})
    for file in (made.state_file(0), made.beat_file(0)):
        aged(file, seconds)
    assert lease.alive(made.out, {"submission": made.id, "share": 0}, made, 1)
    assert lease.silence(made.folder, 0) < 60


@pytest.mark.parametrize(
    ("seconds", "believed"), [(0, True), (60, True), (100, False), (-60, True), (-DAY, False), (DAY, False)]
)
def test_another_machine_s_worker_is_believed_while_its_files_are_young(
    seconds: float, believed: bool, made: Submission
) -> None:
    """A time far in the future is a wrong clock's, and must not make a dead worker live until then."""
    supervised(made, 0, "other", host="elsewhere")
    aged(made.state_file(0), seconds)
    assert lease.alive(made.out, {"submission": made.id, "share": 0}, made, 1) == believed
    atomic.write_json(made.beat_file(0), {"token": "other", "host": "elsewhere", "clock": 1.0})
    assert lease.alive(made.out, {"submission": made.id, "share": 0}, made, 1), "a beat makes up for it"


def test_heartbeats_of_before_this_machine_was_started_count_for_nothing(made: Submission) -> None:
    supervised(made, 0, "other", clock=time.monotonic() + 1000)
    assert lease.silence(made.folder, 0) == float("inf")


def test_a_share_that_was_never_heard_of_is_silent_for_ever(made: Submission) -> None:
    assert lease.silence(made.folder, 0) == float("inf")
    assert lease.silence(made.folder / "nowhere", 0) == float("inf")


def test_processes_of_this_machine(living: int, dead: int) -> None:
    here = socket.gethostname()
    assert lease.on_this_machine(here, living) is True
    assert lease.on_this_machine(here, dead) is False
    assert lease.on_this_machine("elsewhere", living) is None
    assert lease.on_this_machine(None, None) is None
    zombie = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
    deadline = time.monotonic() + 20
    while lease.on_this_machine(here, zombie.pid):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    zombie.wait()
