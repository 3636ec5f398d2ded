"""The arrays of a submission that sbatch accepted, and how they are found again and cancelled.

    DIR/submissions/ID/jobs.json            what sbatch accepted, rewritten after every array
    DIR/submissions/ID/slurm/0/             submitit's folder of one array: script, pickles, logs; only its owner may enter
    DIR/submissions/ID/slurm/0/shares.json  which shares that array has, written before sbatch is called

An array that is not in ``jobs.json`` and lacks a pickle can be cancelled and sent again: not all of it could start.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.launch.launchers import Job, read_jobs, write_jobs
from bench.launch.slurm import queue
from bench.runfolder.submission import Submission
from flowbench._core import atomic


def name(submission: Submission) -> str:
    """The name of its jobs in Slurm."""
    return f"flowbench-{submission.id}"


def recover(submission: Submission) -> list[Job]:
    """The arrays of a submission whose command died, with the one that it had no time to write down.

    That one is adopted if all its pickles are in place, and cancelled otherwise. The caller holds the run's lock.
    """
    arrays = read_jobs(submission) or []
    for job in strays(submission, arrays):
        if found := _with_pickles(submission, job):
            arrays.append(found)
            write_jobs(submission, arrays)
        else:
            queue.cancel([job])
    return arrays


def cancel(submission: Submission) -> None:
    """Cancel all its jobs that Slurm still has, written down or not. Raises UserError."""
    queue.cancel(queue.by_name(name(submission)))


def strays(submission: Submission, arrays: Sequence[Job]) -> list[str]:
    """Jobs of its name that were not written down."""
    known = {array.job for array in arrays}
    return [job for job in queue.by_name(name(submission)) if job not in known]


def _with_pickles(submission: Submission, job: str) -> Job | None:
    """The array of a job if the pickles of all its tasks are in place."""
    for file in sorted((submission.folder / "slurm").glob("*/shares.json")):
        array = Job(job, tuple(atomic.read_object(file)["shares"]))
        if all((file.parent / f"{array.task(share)}_submitted.pkl").exists() for share in array.shares):
            return array
    return None
