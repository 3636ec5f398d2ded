"""Hands a submission's shares to Slurm as job arrays, through submitit; :mod:`bench.launch.slurm.arrays` has the files."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from bench.launch.launchers import Job, Submitted, write_jobs
from bench.launch.slurm import queue
from bench.launch.slurm.arrays import strays
from bench.launch.slurm.sbatch import call, fresh_folder, parameters
from bench.launch.slurm.slurm_options import SlurmOptions
from bench.runfolder.submission import Submission
from flowbench._core import atomic
from flowbench._core.errors import UserError

T = TypeVar("T")

PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds between the tries while Slurm does not answer."""
FULL = ("SubmitJob", "MaxSubmit", "Job violates accounting/QOS policy")
"""What sbatch prints when it would take fewer jobs."""
ASLEEP = "temporarily unable to accept job"
"""What sbatch prints when it has itself tried for two minutes: the cluster's own table of jobs is full."""
USUAL_ARRAY = 1001
"""Slurm's default of MaxArraySize."""
PROGRAMS = ("sbatch", "squeue", "scontrol", "scancel", "srun")


class _FullError(Exception):
    """Slurm takes no more, but perhaps fewer unless it is :data:`ASLEEP`."""


def reach() -> None:
    """Raises :class:`UserError` if Slurm cannot be used from here, or does not answer."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        plural = " is" if len(missing) == 1 else " are"
        raise UserError(
            f"--executor slurm: {', '.join(missing)}{plural} not on PATH: run it on a machine of the cluster, or use "
            "--executor local"
        )
    try:
        largest_array()
    except UserError as error:
        raise UserError(f"--executor slurm: {error}") from None


def submit(
    submission: Submission, options: SlurmOptions, sleep: Callable[[float], None] = time.sleep
) -> Submitted:
    """Hand in all shares: canaries first, the others wait for them. Raises :class:`UserError`.

    The user's own ``dependency`` is that of the first arrays; the others wait for those.
    """
    folder = submission.folder.absolute()
    if bad := set("%\\:\n") & set(str(folder)):
        raise UserError(
            f"--out {submission.out}: Slurm cannot use a path with {min(bad)!r}: name another folder"
        )
    desk = _Desk(submission, options, sleep)
    canary = [share.canary for share in submission.shares]
    refused = ""
    try:
        first = desk.hand_in([i for i, c in enumerate(canary) if c], ())
        desk.hand_in([i for i, c in enumerate(canary) if not c], first)
    except (_FullError, UserError) as error:  # what was accepted runs
        if isinstance(error, UserError) and not desk.jobs:
            raise
        refused = str(error)
    if desk.doubts:  # a request that timed out may have been accepted after we asked
        desk.cancel_strays()
    if refused and not desk.jobs:
        raise UserError(f"Slurm takes none of the {len(canary)} workers ({refused})")
    return Submitted(tuple(desk.jobs), refused or None)


class _Desk:
    """Submits arrays one after the other and writes down what was accepted."""

    def __init__(self, submission: Submission, options: SlurmOptions, sleep: Callable[[float], None]) -> None:
        self.submission = submission
        execution = submission.execution
        self.parameters = options.parameters(execution.device, execution.replicas)
        self.at_once = options["array_parallelism"]
        self.sleep = sleep
        self.jobs: list[Job] = []
        self.doubts = 0
        self.largest = self.retry(largest_array)

    def hand_in(self, shares: Sequence[int], after: Sequence[str]) -> list[str]:
        """Submit shares as arrays that wait for the jobs ``after``; returns their ids.

        Slurm limits the running tasks of one array only. So several arrays form lanes: the limits of the lanes add up to
        the user's, and in a lane each array waits for the one before. None waits where all may run at once.
        """
        pieces = [shares[i : i + self.largest] for i in range(0, len(shares), self.largest)]
        free = len(shares) <= self.at_once
        lanes = len(shares) if free else min(len(pieces), self.at_once)
        jobs: list[str] = []
        while pieces:
            piece, lane = pieces[0], len(jobs) % lanes
            most = self.at_once if free else self.at_once // lanes + (lane < self.at_once % lanes)
            waits = [*after, jobs[-lanes]] if len(jobs) >= lanes else list(after)
            try:
                jobs.append(self.retry(partial(self.sbatch, piece, most, waits)))
            except _FullError as error:
                if len(piece) == 1 or str(error) == ASLEEP:
                    raise
                half = (len(piece) + 1) // 2
                pieces[:1] = [piece[:half], piece[half:]]
            else:
                del pieces[0]
        return jobs

    def retry(self, call: Callable[[], T]) -> T:
        """Call again, later and later, while Slurm does not answer."""
        for pause in PAUSES:
            try:
                return call()
            except UserError as error:
                if not queue.is_busy(str(error)):
                    raise
            self.sleep(pause)
        return call()

    def sbatch(self, shares: Sequence[int], most: int, waits: Sequence[str]) -> str:
        """Submit one array, ``most`` of it at once, and write it down; returns its id. Leaves nothing if it fails."""
        from submitit.core.utils import FailedJobError

        from bench.launch.slurm.job import Entry

        if self.doubts:
            queue.cancel(strays(self.submission, self.jobs))
        folder = fresh_folder(self.submission.folder.absolute() / "slurm")
        try:
            atomic.write_json(folder / "shares.json", {"shares": list(shares)})
            chosen = parameters(self.submission, self.parameters, most, waits)
            entry = Entry(str(self.submission.folder.absolute()), tuple(shares))
            job = call(folder, entry, range(len(shares)), chosen)
        except FailedJobError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise self.failure(str(error)) from None
        except BaseException as error:  # sbatch may have accepted it
            shutil.rmtree(folder, ignore_errors=True)
            self.cancel_strays()
            if isinstance(error, RuntimeError):  # an answer that submitit does not understand
                raise self.failure(str(error).partition("\n")[0]) from None
            raise
        self.jobs.append(Job(job, tuple(shares)))
        write_jobs(self.submission, self.jobs)
        return job

    def cancel_strays(self) -> None:
        """Cancel what was accepted without an answer, if Slurm answers now."""
        with contextlib.suppress(UserError):
            queue.cancel(strays(self.submission, self.jobs))

    def failure(self, stderr: str) -> Exception:
        """The error that sbatch's words stand for."""
        shown = queue.words(stderr) or "without a word"
        if ASLEEP in stderr:
            return _FullError(ASLEEP)
        if any(word in stderr for word in FULL):
            limit = re.search(r"\b\w+Limit\b", stderr)
            return _FullError(limit[0] if limit else shown)
        if queue.is_busy(stderr):
            self.doubts += 1
        done, all_ = sum(len(a.shares) for a in self.jobs), len(self.submission.shares)
        return UserError(f"sbatch has taken {done or 'none'} of the {all_} workers, then failed: {shown}")


def largest_array() -> int:
    """How many tasks an array may have: indices end below MaxArraySize."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", queue.run(["scontrol", "show", "config"]), re.MULTILINE)
    return max(1, int(found[1])) if found else USUAL_ARRAY
