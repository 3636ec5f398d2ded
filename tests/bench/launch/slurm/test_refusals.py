"""What is left, and what is said, when Slurm takes fewer workers than asked for, or none, or does not answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.launch.launchers import Job, read_jobs
from bench.launch.slurm import executor as slurm
from flowbench._core.errors import UserError

from ...stand_ins import Cluster, install, left_behind, make, refusal, submit

UNREACHABLE = "Unable to contact slurm controller (connect failure)"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return install(tmp_path, monkeypatch)


def test_a_controller_that_is_away_for_a_moment_is_waited_for(
    cluster: Cluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cluster.set("answers", f"{UNREACHABLE}\n{UNREACHABLE}\naccept")
    naps: list[float] = []
    submission = make(tmp_path / "run", 2)
    assert submit(submission, sleep=naps.append).jobs == (Job("100", (0, 1)),)
    assert naps == [1.0, 2.0]
    assert left_behind(submission) == ["0"]
    assert capfd.readouterr() == ("", "")


def test_a_controller_that_stays_away_is_reported(cluster: Cluster, tmp_path: Path) -> None:
    cluster.set("answers", "\n".join([UNREACHABLE] * 5))
    submission = make(tmp_path / "run", 2)
    assert refusal(submission).startswith(
        f"sbatch has taken none of the 2 workers, then failed: {UNREACHABLE}"
    )
    assert left_behind(submission) == []
    assert len(cluster.calls("sbatch")) == 5
    cluster.set("down", "")
    assert refusal(submission).startswith(f"scontrol does not answer ({UNREACHABLE})")


def test_what_was_accepted_although_sbatch_timed_out_is_not_there_twice(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.set("answers", "lose\nlose\naccept")
    submission = make(tmp_path / "run", 2)
    assert submit(submission).jobs == (Job("102", (0, 1)),)
    assert cluster.jobs() == ["102"]
    assert cluster.calls("scancel") == ["100", "101"]


def test_where_slurm_takes_fewer_jobs_it_gets_as_many_as_it_takes(cluster: Cluster, tmp_path: Path) -> None:
    cluster.set("limit", "7")
    submission = make(tmp_path / "run", 12)
    made = submit(submission)
    assert [a.shares for a in made.jobs] == [(0, 1, 2, 3, 4, 5), (6,)]
    assert (made.workers, made.refused) == (7, "QOSMaxSubmitJobPerUserLimit")
    assert read_jobs(submission) == list(made.jobs)
    assert left_behind(submission) == ["0", "1"]
    none = make(tmp_path / "other", 2)
    assert refusal(none) == "Slurm takes none of the 2 workers (QOSMaxSubmitJobPerUserLimit)"
    assert left_behind(none) == []


def test_where_sbatch_has_itself_waited_for_a_place_no_wait_follows(cluster: Cluster, tmp_path: Path) -> None:
    cluster.set("answers", "Slurm temporarily unable to accept job, sleeping and retrying")
    assert "temporarily unable" in refusal(make(tmp_path / "run", 8))
    assert len(cluster.calls("sbatch")) == 1


def test_another_refusal_is_reported_in_sbatchs_words(
    cluster: Cluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cluster.set("answers", "Invalid qos")
    submission = make(tmp_path / "run", 4)
    assert refusal(submission) == "sbatch has taken none of the 4 workers, then failed: Invalid qos"
    assert (left_behind(submission), read_jobs(submission)) == ([], None)
    assert capfd.readouterr() == ("", "")


def test_what_was_taken_before_another_refusal_is_kept(cluster: Cluster, tmp_path: Path) -> None:
    cluster.set("answers", "accept\nInvalid qos")
    cluster.set("array", "2")
    submission = make(tmp_path / "run", 4)
    taken = submit(submission)
    assert taken.refused == "sbatch has taken 2 of the 4 workers, then failed: Invalid qos"
    assert left_behind(submission) == ["0"]
    assert [a.shares for a in read_jobs(submission) or []] == [(0, 1)]


def test_an_answer_that_cannot_be_understood_leaves_no_job(cluster: Cluster, tmp_path: Path) -> None:
    cluster.set("answers", "mumble")
    submission = make(tmp_path / "run", 2)
    assert "Submitted batch job ?" in refusal(submission)
    assert (cluster.jobs(), left_behind(submission)) == ([], [])


def test_a_folder_whose_name_slurm_would_take_for_a_pattern_is_refused(
    cluster: Cluster, tmp_path: Path
) -> None:
    assert "'%'" in refusal(make(tmp_path / "100%", 1))


def test_without_slurm_one_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        UserError, match=r"^--executor slurm: sbatch, squeue, scontrol, scancel, srun are not on"
    ):
        slurm.reach()


def test_with_slurm_nothing_is_in_the_way(cluster: Cluster) -> None:
    slurm.reach()
