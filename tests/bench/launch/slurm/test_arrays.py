"""How arrays are found again and cancelled, and what the queue and the accounting list of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.launch.launchers import Seen, read_jobs, write_jobs
from bench.launch.slurm import arrays, queue
from flowbench._core.errors import UserError

from ...stand_ins import Cluster, install, make, submit


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return install(tmp_path, monkeypatch)


def test_an_array_that_is_in_no_file_is_adopted_if_it_is_complete(cluster: Cluster, tmp_path: Path) -> None:
    cluster.set("array", "2")
    submission = make(tmp_path / "run", 4)
    first, second = submit(submission).jobs
    write_jobs(submission, [first])
    assert arrays.recover(submission) == [first, second]
    assert read_jobs(submission) == [first, second]
    assert cluster.calls("scancel") == []


def test_an_array_whose_pickles_are_not_all_there_is_cancelled(cluster: Cluster, tmp_path: Path) -> None:
    submission = make(tmp_path / "run", 4)
    submit(submission)
    (submission.folder / "jobs.json").unlink()
    (submission.folder / "slurm" / "0" / "100_2_submitted.pkl").unlink()
    assert arrays.recover(submission) == []
    assert cluster.jobs() == []


def test_nothing_to_recover(cluster: Cluster, tmp_path: Path) -> None:
    assert arrays.recover(make(tmp_path / "new", 4)) == []
    submission = make(tmp_path / "run", 4)
    known = submit(submission).jobs
    assert arrays.recover(submission) == list(known)


def test_cancelling_ends_this_submissions_jobs_and_no_others(cluster: Cluster, tmp_path: Path) -> None:
    one, other = make(tmp_path / "run", 4), make(tmp_path / "run", 4)
    submit(one)
    submit(other)
    (one.folder / "jobs.json").unlink()
    arrays.cancel(one)
    assert cluster.jobs() == ["101"]
    arrays.cancel(one)
    assert cluster.jobs() == ["101"]


def test_the_queue_lists_each_task_and_leaves_out_what_is_gone(cluster: Cluster, tmp_path: Path) -> None:
    submit(make(tmp_path / "run", 2))
    submit(make(tmp_path / "run", 1))
    seen = queue.look(["100_0", "100_1", "101", "55"])
    assert sorted(seen) == ["100_0", "100_1", "101"]
    why = "Nodes required for job are DOWN, DRAINED|or reserved"
    assert seen["101"] == Seen("queued", why, job="101")
    assert queue.look(["55"]) == {}
    assert queue.look([]) == {}


def test_many_jobs_are_asked_for_some_hundreds_at_a_time(cluster: Cluster) -> None:
    queue.look(str(n) for n in range(650))
    assert [call.count(",") + 1 for call in cluster.calls("squeue")] == [300, 300, 50]


def test_a_silent_queue_is_reported(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.set("down", "")
    for ask in (lambda: queue.look(["1", "2"]), lambda: queue.by_name("x")):
        with pytest.raises(
            UserError, match=r"^squeue does not answer \(Unable to contact .*\): is slurmctld up\? try again$"
        ):
            ask()
    assert queue.explain(["1"]) == {}
    cluster.set("down", "60")
    monkeypatch.setattr(queue, "PATIENCE", 0.3)
    with pytest.raises(UserError, match=r"no answer in 0\.3 s"):
        queue.look(["1"])


def test_another_failure_is_reported_in_slurms_words(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "bin" / "squeue"
    broken.write_text("#!/bin/sh\necho 'squeue: error: Access/permission denied' >&2\nexit 1\n")
    with pytest.raises(UserError, match=r"^squeue failed: Access/permission denied$"):
        queue.by_name("x")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"^squeue failed: No such file"):
        queue.by_name("x")


def test_a_users_settings_for_squeue_change_nothing(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQUEUE_STATES", "RUNNING")
    assert "SQUEUE" not in queue.run(["env"])


def test_accounting_lists_how_tasks_ended(cluster: Cluster) -> None:
    rows = [
        "7_0|COMPLETED|0:0",
        "7_1|FAILED|1:0",
        "7_1.batch|FAILED|1:0",
        "7_1.0|OUT_OF_MEMORY|0:125",
        "8|CANCELLED by 0|0:15",
    ]
    cluster.set(
        "sacct", "\n".join([*rows, "7_[2,4-5%3]|PENDING|0:0", "9|COMPLETED|0:0", "9.0|OUT_OF_MEMORY|0:125"])
    )
    assert queue.explain(["7", "8_0", "9"]) == {
        "7_0": "COMPLETED 0:0",
        "7_1": "OUT_OF_MEMORY 0:125",
        "8": "CANCELLED 0:15",
        "9": "COMPLETED 0:0",
        **dict.fromkeys(("7_2", "7_4", "7_5"), "PENDING 0:0"),
    }


@pytest.mark.parametrize(
    ("job", "tasks"),
    [
        ("7", ["7"]),
        ("7_3", ["7_3"]),
        ("7_[4-6%2]", ["7_4", "7_5", "7_6"]),
        ("7_[0,4-8:2]", ["7_0", "7_4", "7_6", "7_8"]),
        ("7_[1-2,...]", ["7_1", "7_2"]),
    ],
)
def test_ranges_of_tasks_are_spelled_out(job: str, tasks: list[str]) -> None:
    assert queue.tasks(job) == tasks
