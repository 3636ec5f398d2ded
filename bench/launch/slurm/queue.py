"""Asks Slurm how jobs are: squeue for what is queued or runs, sacct for how it ended.

What squeue no longer lists has ended or was never there. Every call has its own time limit.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from flowbench._core.errors import UserError

PATIENCE = 15.0
"""Seconds that one call may take."""
AT_ONCE = 300
"""Job ids in one call."""
PREFIX = re.compile(
    r"^(\w+: )?((\w+ )?error|fatal|info): (Batch job submission failed: )?|^\w+: (?=\S+ option)"
)
NOT_KNOWN = "Invalid job id"
BUSY = (
    *("Unable to contact", "Socket timed out", "Zero Bytes", "standby mode", "temporarily", "no answer in"),
    *("Connection refused", "Connection reset", "Connection timed out"),
)


@dataclass(frozen=True)
class Seen:
    """What squeue says of one task: the first word of its state, why it waits, and where it runs."""

    state: str
    reason: str
    node: str


def look(jobs: Iterable[str]) -> dict[str, Seen]:
    """What squeue lists of these jobs, by task id (``123_4``, or ``123`` for a plain job); the others are gone.

    Raises :class:`UserError` if Slurm does not answer.
    """
    seen = {}
    for listed in _chunks(jobs):
        command = ["squeue", "-h", "-r", "-o", "%i|%T|%N|%r", "-j", ",".join(listed)]
        for task, state, node, reason in _rows(_answer(command), 4):
            seen[task] = Seen((state.split() or ["UNKNOWN"])[0], reason, node)
    return seen


def by_name(name: str) -> list[str]:
    """The ids of the user's own arrays and jobs of this name that squeue lists. Raises :class:`UserError`."""
    return list(dict.fromkeys(_answer(["squeue", "-h", "--me", "-o", "%F", "-n", name]).split()))


def explain(jobs: Iterable[str]) -> dict[str, str]:
    """How tasks ended, by sacct: task id -> ``OUT_OF_MEMORY 0:125``; what sacct does not tell is missing.

    Slurm calls a job FAILED of which a step ran out of memory, so its steps are asked too.
    """
    ended: dict[str, str] = {}
    for listed in _chunks(jobs):
        try:
            told = _answer(["sacct", "-n", "-P", "-o", "JobID,State,ExitCode", "-j", ",".join(listed)])
        except UserError:
            continue
        for row, state, code in _rows(told, 3):
            job, dot, _ = row.partition(".")
            text = f"{(state.split() or ['UNKNOWN'])[0]} {code}"
            if not dot:
                ended |= dict.fromkeys(tasks(job), text)
            elif text.startswith("OUT_OF_MEMORY") and ended.get(job, "").startswith("FAILED"):
                ended[job] = text
    return ended


def tasks(job: str) -> list[str]:
    """The tasks in an id that Slurm prints for several: ``7_[0,4-8:2%3]`` is 7_0, 7_4, 7_6 and 7_8."""
    array, bracket, ranges = job.partition("_[")
    if not bracket:
        return [job]
    found: list[str] = []
    for part in ranges.partition("]")[0].partition("%")[0].split(","):
        if match := re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part):
            first, last, step = match.groups()
            found += [f"{array}_{n}" for n in range(int(first), int(last or first) + 1, int(step or 1))]
    return found


def run(command: Sequence[str]) -> str:
    """What a Slurm command prints. Raises :class:`UserError` with its own words if it fails or does not answer."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SQUEUE_", "SACCT_", "SCANCEL_"))}
    environment["SLURM_BITSTR_LEN"] = "0"  # ranges of tasks in full
    try:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            env=environment,
            encoding="utf-8",
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        why = f"no answer in {PATIENCE:g} s"
    except OSError as error:
        why = error.strerror or str(error)
    else:
        if ended.returncode == 0:
            return ended.stdout
        why = words(ended.stderr) or f"exit code {ended.returncode}"
    if is_busy(why):
        raise UserError(f"{command[0]} does not answer ({why}): is slurmctld up? try again")
    raise UserError(f"{command[0]} failed: {why}")


def is_busy(text: str) -> bool:
    """Whether a Slurm command says that it could not reach Slurm."""
    return any(word in text for word in BUSY)


def words(text: str) -> str:
    """What a Slurm command says on stderr, in short: the last two lines that say something."""
    lines = [PREFIX.sub("", line.strip()) for line in text.splitlines()]
    told = [line for line in lines if line and not line.startswith(("Try ", "--"))]
    return "; ".join(dict.fromkeys(told[-2:]))


def _answer(command: Sequence[str]) -> str:
    """Like :func:`run`, but empty if the one job that was asked for is no longer known."""
    try:
        return run(command)
    except UserError as error:
        # Of several ids squeue ignores the unknown ones; a single unknown id is an error.
        if NOT_KNOWN in str(error):
            return ""
        raise


def _rows(text: str, fields: int) -> Iterator[list[str]]:
    """The lines of a table; its last field may contain the separator."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|", fields - 1)]
        if len(cells) == fields:
            yield cells


def _chunks(jobs: Iterable[str]) -> Iterator[list[str]]:
    """The arrays of these jobs, some hundreds at a time."""
    arrays = list(dict.fromkeys(job.partition("_")[0] for job in jobs))
    for start in range(0, len(arrays), AT_ONCE):
        yield arrays[start : start + AT_ONCE]
