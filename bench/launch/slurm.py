"""Hands a submission's shares to Slurm as job arrays, through submitit; see :mod:`bench.launch.arrays` for the files."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from bench import store
from bench.launch import queue
from bench.launch.arrays import Array, cancel, cancel_strays, name, read_arrays, recover, write_arrays
from bench.launch.options import SlurmOptions
from bench.launch.submission import Submission
from samplers.errors import UserError

__all__ = ["Array", "Submitted", "cancel", "obstacle", "read_arrays", "recover", "submit"]
T = TypeVar("T")

PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds between the tries while Slurm does not answer."""
BUSY = (
    *("Unable to contact", "Socket timed out", "Zero Bytes", "standby mode", "temporarily", "no answer in"),
    *("Connection refused", "Connection reset", "Connection timed out"),
)
"""What Slurm's commands say when they could not reach it."""
FULL = ("SubmitJob", "MaxSubmit", "Job violates accounting/QOS policy")
"""What sbatch says when it would take fewer jobs."""
PROGRAMS = ("sbatch", "squeue", "scontrol", "scancel", "srun")
NEEDED = {"SLURM_CONF", "SLURM_JWT"}
"""How Slurm's commands find and enter the cluster; all other SLURM_ variables describe a job that we may be in."""
OVERRIDES = {
    "TIMELIMIT",
    "ARRAY_INX",
    "JOB_NAME",
    "INPUT",
    "OUTPUT",
    "ERROR",
    "OPEN_MODE",
    "SIGNAL",
    "NO_REQUEUE",
}
OVERRIDES |= {"REQUEUE", "WAIT", "CLUSTERS", "MEM_BIND", "CPU_BIND"}
"""SBATCH_ variables that would win over what stands in the script."""


@dataclass(frozen=True)
class Submitted:
    """What Slurm took, and in its own words why it took no more."""

    arrays: tuple[Array, ...]
    refused: str | None = None

    @property
    def workers(self) -> int:
        """How many shares it took."""
        return sum(len(array.shares) for array in self.arrays)


class _FullError(Exception):
    """Slurm would take fewer jobs."""


def obstacle() -> str | None:
    """Why Slurm cannot be used from here, if so."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if not missing:
        return None
    plural = " is" if len(missing) == 1 else " are"
    return f"{', '.join(missing)}{plural} not on PATH: run it on a machine of the cluster, or use --executor local"


def submit(
    submission: Submission, options: SlurmOptions, sleep: Callable[[float], None] = time.sleep
) -> Submitted:
    """Hand in all shares: canaries first, the others wait for them. Raises :class:`UserError`.

    The user's own ``dependency`` is that of the first arrays; the others wait for those.
    """
    if why := obstacle():
        raise UserError(f"--executor slurm: {why}")
    folder = submission.folder.absolute()
    if bad := set("%\\:\n") & set(str(folder)):
        raise UserError(
            f"--out {submission.out}: Slurm cannot use a path with {min(bad)!r}: name another folder"
        )
    desk = _Desk(submission, options, sleep)
    canary = [share.canary for share in submission.shares]
    refused = None
    try:
        first = desk.hand_in([i for i, c in enumerate(canary) if c], ())
        desk.hand_in([i for i, c in enumerate(canary) if not c], first)
    except _FullError as error:
        refused = str(error)
    if desk.doubts:  # a request that timed out may have been accepted after we asked
        with contextlib.suppress(UserError):
            cancel_strays(submission, desk.arrays)
    if refused and not desk.arrays:
        raise UserError(f"Slurm takes none of the {len(canary)} workers ({refused})")
    return Submitted(tuple(desk.arrays), refused)


class _Desk:
    """Submits arrays one after the other and writes down what was accepted."""

    def __init__(self, submission: Submission, options: SlurmOptions, sleep: Callable[[float], None]) -> None:
        self.submission = submission
        self.parameters = options.parameters(submission.execution.device)
        self.at_once = options.parallelism
        self.sleep = sleep
        self.arrays = read_arrays(submission) or []
        self.doubts = 0
        self.largest = self.retry(_largest_array)

    def hand_in(self, shares: Sequence[int], after: Sequence[str]) -> list[str]:
        """Submit shares as arrays that wait for the jobs ``after``; returns their ids.

        Slurm limits the running tasks of one array only. So several arrays form lanes: the limits of the lanes add up to
        the user's, and in a lane each array waits for the one before. Nobody waits where all may run at once.
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
            except _FullError:
                if len(piece) == 1:
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
                if not any(word in str(error) for word in BUSY):
                    raise
            self.sleep(pause)
        return call()

    def sbatch(self, shares: Sequence[int], most: int, waits: Sequence[str]) -> str:
        """Submit one array, ``most`` of it at once, and write it down; returns its id. Leaves nothing if it fails."""
        from submitit.core.utils import FailedJobError

        if self.doubts:
            cancel_strays(self.submission, self.arrays)
        folder = _fresh_folder(self.submission)
        try:
            store.write_json(folder / "shares.json", {"shares": list(shares)})
            job = self.map_array(folder, shares, self.call_parameters(most, waits))
        except FailedJobError as error:
            shutil.rmtree(folder)
            raise self.failure(str(error)) from None
        except BaseException as error:  # sbatch may have accepted it
            shutil.rmtree(folder)
            with contextlib.suppress(UserError):
                cancel_strays(self.submission, self.arrays)
            if isinstance(error, RuntimeError):  # an answer that submitit does not understand
                raise self.failure(str(error).partition("\n")[0]) from None
            raise
        self.arrays.append(Array(job, tuple(shares)))
        write_arrays(self.submission, self.arrays)
        return job

    def map_array(self, folder: Path, shares: Sequence[int], parameters: dict[str, Any]) -> str:
        """Let submitit write the pickles and the script, and call sbatch; it may not print."""
        from submitit import SlurmExecutor

        from bench.launch.job import Entry

        with _environment(parameters), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            executor = SlurmExecutor(folder, max_num_timeout=1_000_000)
            executor.update_parameters(**parameters)
            entry = Entry(str(self.submission.folder.absolute()), tuple(shares))
            jobs = executor.map_array(entry, range(len(shares)))
        return str(jobs[0].job_id).partition("_")[0]

    def call_parameters(self, most: int, waits: Sequence[str]) -> dict[str, Any]:
        """What submitit is told about one array."""
        chosen = dict(self.parameters)
        code = self.submission.code_folder.absolute()
        path = shlex.quote(f"{code}:{Path.cwd()}")
        exports = [
            f'export PYTHONPATH={path}"${{PYTHONPATH:+:$PYTHONPATH}}"',
            "export PYTHONSAFEPATH=1",
            # srun does not take this from sbatch in every release of Slurm, and would bind the worker to one core
            '[ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"',
        ]
        # submitit drops its own `python` for arrays, so what has to run before Python stands at the end of srun's options
        shield = [sys.executable, "-I", "-S", str(code / "bench" / "launch" / "shield.py")]
        chosen |= {
            "job_name": name(self.submission),
            "array_parallelism": most,
            "setup": [*chosen.get("setup", ()), *exports],
            # with sbatch's --export=NONE srun would not even hand on PATH
            "srun_args": ["--export=ALL", *chosen.get("srun_args", ()), *shield],
        }
        if waits:
            chosen["dependency"] = "afterany:" + ":".join(waits)
        return chosen

    def failure(self, stderr: str) -> Exception:
        """What sbatch's words mean."""
        said = queue.words(stderr) or "it says nothing"
        if any(word in stderr for word in FULL):
            return _FullError(said)
        if any(word in stderr for word in BUSY):
            self.doubts += 1
        done, all_ = sum(len(a.shares) for a in self.arrays), len(self.submission.shares)
        return UserError(f"sbatch has taken {done or 'none'} of the {all_} workers, then failed: {said}")


def _largest_array() -> int:
    """How many tasks an array may have: indices end below MaxArraySize."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", queue.run(["scontrol", "show", "config"]), re.MULTILINE)
    return max(1, int(found[1])) if found else 1001


def _fresh_folder(submission: Submission) -> Path:
    """A new folder for submitit, which nobody else may enter: what is unpickled there is run."""
    parent = submission.folder.absolute() / "slurm"
    parent.mkdir(mode=0o700, exist_ok=True)
    folder = parent / str(max((int(p.name) for p in parent.iterdir()), default=-1) + 1)
    folder.mkdir(mode=0o700)
    return folder


@contextlib.contextmanager
def _environment(parameters: dict[str, Any]) -> Iterator[None]:
    """An environment for sbatch in which only what the user meant for it is left.

    SBATCH_ variables are defaults of the user's, but sbatch lets them win over the script: those go that would undo
    what was asked for.
    """
    from submitit.helpers import clean_env

    asked = {key.upper().replace("-", "_") for key in (*parameters, *parameters["additional_parameters"])}
    undone = {f"SBATCH_{key}" for key in OVERRIDES | asked}
    kept = {
        k: v for k, v in os.environ.items() if k in NEEDED or (k.startswith("SBATCH_") and k not in undone)
    }
    with clean_env():
        os.environ.update(kept)
        yield
