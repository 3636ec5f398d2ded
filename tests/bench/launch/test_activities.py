"""The activity of a share, from its files, the process table, and squeue's list."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.config.experiment import Grid
from bench.launch import activities, local
from bench.launch.activities import Activity
from bench.launch.launchers import Seen
from bench.launch.slurm import queue
from bench.planning import plan
from bench.planning.cells import cells_of
from bench.runfolder import lease
from bench.runfolder import submission as submissions
from bench.runfolder.submission import Share, Submission
from flowbench._core import atomic

Submit = Callable[..., Submission]


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that is gone."""
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture(scope="module")
def living() -> Iterator[int]:
    """The number of a process that lives."""
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


def by(submission: Submission, pid: int, host: str | None = None) -> Submission:
    """The submission as if another command had written it."""
    file = submission.folder / "submission.json"
    atomic.write_json(file, atomic.read_object(file) | {"pid": pid, "host": host or submission.host})
    return submissions.read(submission.folder)


def writes(made: Submission, state: str = "running", ago: float = 0.0, reason: str | None = None) -> None:
    """What a supervisor writes, so many seconds ago."""
    stamp = {**lease.stamp(), "clock": time.monotonic() - ago}
    kept = {
        "token": "mine",
        "state": state,
        "restart": 0,
        "pid": os.getpid(),
        "error": {"kind": "Any", "message": reason, "cause": "any"} if reason else None,
        **stamp,
    }
    atomic.write_json(made.state_file(0), kept)


def beats(made: Submission, ago: float = 0.0, **more: Any) -> None:
    """A heartbeat, so many seconds ago."""
    stamp = {**lease.stamp(), "clock": time.monotonic() - ago}
    atomic.write_json(made.beat_file(0), {"token": "mine", "stage": "train", **stamp, **more})


def seen(made: Submission) -> Activity:
    """The first share of a local submission."""
    return activities.of_submission(made, local.Local().states(made))[0]


@pytest.fixture
def made(submit: Submit) -> Submission:
    return submit(shares=[Share(("a", "b"))], code="none")


def test_a_share_whose_command_has_not_begun_it_is_queued(made: Submission, living: int, dead: int) -> None:
    assert seen(by(made, living)).state == "queued"
    gone = seen(by(made, dead))
    assert (gone.state, gone.ending) == ("gone", "")
    (made.folder / "cancelled").touch()
    assert seen(by(made, living)).state == "gone"


@pytest.mark.parametrize(
    "state", ["settled", "failed", "held", "refused", "unwritable", "saved", "fenced", "killed"]
)
def test_a_share_that_has_ended_is_gone(state: str, made: Submission, living: int) -> None:
    writes(made, state, reason="so it is")
    found = seen(by(made, living))
    assert (found.state, found.ending, found.reason, found.active) == ("gone", state, "so it is", False)


def test_a_worker_whose_command_lives_runs(made: Submission, living: int) -> None:
    """However long it has been silent, as long as the command is not."""
    writes(made, ago=200)
    beats(made, ago=100)
    found = seen(by(made, living))
    assert (found.state, found.fading, found.active) == ("running", False, True)
    assert found.beat["stage"] == "train"
    assert found.silent == pytest.approx(100, abs=30)
    assert found.cells == ("a", "b")


def test_a_worker_whose_command_is_gone_fades(made: Submission, dead: int) -> None:
    """It will notice at its next beat; after some beats of silence, or when it says so, it is gone."""
    made = by(made, dead)
    writes(made)
    beats(made)
    found = seen(made)
    assert (found.state, found.fading) == ("running", True)
    beats(made, over=True)
    assert (seen(made).state, seen(made).ending) == ("gone", "lost")
    writes(made, ago=100)
    beats(made, ago=activities.FADING_SECONDS + 1)
    assert (seen(made).state, seen(made).ending) == ("gone", "lost")


def aged(file: Path, seconds: float) -> None:
    when = time.time() - seconds
    os.utime(file, (when, when))


def test_a_number_that_another_process_has_now_is_not_believed_for_ever(
    made: Submission, living: int
) -> None:
    """After a crash of the machine: neither what runs nor what waits."""
    made = by(made, living)
    aged(made.folder / "submission.json", local.HUNG_SECONDS + 60)
    assert seen(made).state == "gone"
    writes(made, ago=local.HUNG_SECONDS + 1)
    assert seen(made).state == "gone"
    beats(made, ago=local.HUNG_SECONDS - 60)
    assert seen(made).state == "running"


def test_another_machine_s_command_is_believed_while_it_is_heard(made: Submission) -> None:
    made = by(made, 1, "elsewhere")
    assert seen(made).state == "queued"
    aged(made.folder / "submission.json", lease.SILENT_SECONDS + 60)
    assert seen(made).state == "gone"
    writes(made)
    assert seen(made).state == "running"


@pytest.mark.parametrize("seconds", [-86_400, 86_400], ids=["future", "past"])
def test_no_clock_makes_a_running_worker_look_gone(seconds: float, made: Submission, living: int) -> None:
    made = by(made, living)
    writes(made)
    beats(made)
    for file in made.folder.iterdir():
        aged(file, seconds)
    assert (seen(made).state, seen(made).fading) == ("running", False)


RUNNING, PENDING = (
    queue.seen_as("77", *row) for row in (("RUNNING", "node7", "None"), ("PENDING", "", "Priority"))
)


@pytest.mark.parametrize(
    ("state", "ago", "listed", "expected"),
    [
        ("", 0, PENDING, ("queued", "", False)),
        ("saved", 0, PENDING, ("queued", "saved", False)),
        ("", 0, RUNNING, ("running", "", False)),
        ("running", 500, RUNNING, ("running", "running", False)),
        ("saved", 0, RUNNING, ("running", "saved", False)),
        ("settled", 0, queue.seen_as("77", "COMPLETING", "node7", "None"), ("gone", "settled", False)),
        ("refused", 0, RUNNING, ("gone", "refused", False)),
        ("running", 0, queue.seen_as("77", "SUSPENDED", "node7", "None"), ("running", "running", False)),
        ("", 0, None, ("gone", "lost", False)),
        ("running", 0, None, ("running", "running", True)),
        ("running", 60, None, ("gone", "lost", False)),
        ("saved", 0, None, ("gone", "saved", False)),
        ("settled", 0, None, ("gone", "settled", False)),
    ],
)
def test_a_share_that_slurm_has(
    state: str, ago: float, listed: Seen | None, expected: tuple[str, str, bool], submit: Submit
) -> None:
    made = submit(shares=[Share(("a",))], code="none", executor="slurm")
    if state:
        writes(made, state, ago)
    (found,) = activities.of_submission(made, {0: listed or Seen("gone", job="77")})
    assert (found.state, found.ending, found.fading) == expected
    assert found.job == "77"
    if listed and found.state == "queued":
        assert found.reason == "Priority"
    if listed and found.state == "running":
        assert found.node == "node7"


def test_a_share_that_slurm_was_never_given_is_gone(submit: Submit) -> None:
    made = submit(shares=[Share(("a",))], code="none", executor="slurm")
    (found,) = activities.of_submission(made, {})
    assert (found.state, found.ending, found.active) == ("gone", "", False)


def test_cells_that_another_worker_has_are_not_run(submit: Submit, tiny: Grid, tmp_path: Path) -> None:
    cells = [cell.id for cell in cells_of(tiny)]
    planned = plan.make(tiny, tmp_path / "run")
    made = submit(shares=[Share((cells[0],)), Share((cells[1],))], code="none")
    assert activities.overlay(planned, activities.survey(made.out)).counts() == {"queued": 2}
    writes(made)
    both = activities.overlay(planned, activities.survey(made.out))
    assert both.counts() == {"running": 1, "queued": 1}
    assert both.ready() == []
    done = replace(planned, cells=tuple(replace(p, state="done") for p in planned.cells))
    assert activities.overlay(done, activities.survey(made.out)).counts() == {"done": 2}


def test_a_submission_without_active_shares_is_closed(submit: Submit, living: int, dead: int) -> None:
    """It is never looked at again; a worker of it that lives after all finds that it has lost its share."""
    lives, gone = by(submit(shares=[Share(("a",))], code="none"), living), by(submit(code="none"), dead)
    writes(lives)
    writes(gone, ago=100)
    worker = lease.Lease(gone, 0, "mine")
    worker.check()
    activities.close(activities.survey(lives.out))
    assert (gone.folder / "closed").exists()
    assert not (lives.folder / "closed").exists()
    assert {d.submission.id for d in activities.survey(lives.out)} == {lives.id}
    assert {d.submission.id for d in activities.survey(lives.out, closed=True)} == {lives.id, gone.id}
    with pytest.raises(lease.Fenced):
        worker.check()
