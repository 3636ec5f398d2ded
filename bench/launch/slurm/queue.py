"""What Slurm's commands answer: squeue for what is queued or runs, sacct for how it ended; and how Slurm writes times.

What squeue no longer lists has ended or was never there. Every call has its own time limit.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence

from bench.launch.launchers import Seen
from flowbench._core.errors import UserError

PATIENCE = 15.0
"""Seconds that one call may take."""
AT_ONCE = 300
"""Job ids in one call."""
PREFIX = re.compile(
    r"^(\w+: )?((\w+ )?error|fatal|info): (Batch job submission failed: )?|^\w+: (?=\S+ option)"
)
GONE = ("Invalid job id", "already completing or completed")
"""What a command prints about a single job that has ended; of several, squeue ignores the unknown ones."""
RUNNING = ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED")
"""States of a job that has a node."""
OVER = (
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED"),
    *("NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"),
)
"""States of a job that has ended, should squeue still list it."""
BUSY = (
    *("Unable to contact", "Socket timed out", "Zero Bytes", "standby mode", "temporarily", "no answer in"),
    *("Connection refused", "Connection reset", "Connection timed out"),
)


def look(jobs: Iterable[str]) -> dict[str, Seen]:
    """Where the tasks of these jobs are that squeue lists, by their ids (``123_4``, or ``123`` for a plain job).

    Raises :class:`UserError` if Slurm does not answer.
    """
    seen: dict[str, Seen] = {}
    for listed in _chunks(jobs):
        command = ["squeue", "-h", "-r", "-o", "%i|%T|%N|%r", "-j", ",".join(listed)]
        for task, state, node, reason in _rows(run(command, GONE), 4):
            seen[task] = seen_as(task, state, node, reason)
    return seen


def seen_as(task: str, state: str, node: str, reason: str) -> Seen:
    """Where a task is, by its row of squeue."""
    if _first(state) in OVER:
        return Seen("gone", job=task)
    if _first(state) in RUNNING:
        return Seen("running", node=node, job=task)
    return Seen("queued", reason, job=task)


def by_name(name: str) -> list[str]:
    """The ids of the user's own arrays and jobs of this name that squeue lists. Raises :class:`UserError`."""
    return list(dict.fromkeys(run(["squeue", "-h", "--me", "-o", "%F", "-n", name], GONE).split()))


def cancel(jobs: Sequence[str]) -> None:
    """Cancel jobs; some may have ended meanwhile. Raises :class:`UserError`."""
    if jobs:
        run(["scancel", *jobs], GONE)


def explain(jobs: Iterable[str]) -> dict[str, str]:
    """How tasks ended, by sacct: task id -> ``OUT_OF_MEMORY 0:125``; tasks that sacct does not list are left out.

    Slurm calls a job FAILED if one of its steps ran out of memory, so steps are read, too.
    """
    ended: dict[str, str] = {}
    for listed in _chunks(jobs):
        try:
            answer = run(["sacct", "-n", "-P", "-o", "JobID,State,ExitCode", "-j", ",".join(listed)], GONE)
        except UserError:
            continue
        for row, states, code in _rows(answer, 3):
            job, dot, _ = row.partition(".")
            text = f"{_first(states)} {code}"
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


def run(command: Sequence[str], pardoned: Sequence[str] = ()) -> str:
    """What a Slurm command prints; nothing if it fails with ``pardoned`` words. Raises :class:`UserError` with its own words
    if it fails otherwise or does not answer."""
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
    if any(word in why for word in pardoned):
        return ""
    if is_busy(why):
        raise UserError(f"{command[0]} does not answer ({why}): is slurmctld up? try again")
    raise UserError(f"{command[0]} failed: {why}")


def is_busy(text: str) -> bool:
    """Whether a Slurm command could not reach Slurm, by its words."""
    return any(word in text for word in BUSY)


def words(text: str) -> str:
    """What a Slurm command wrote on stderr, in short: the last two lines with content."""
    lines = (PREFIX.sub("", line.strip()) for line in text.splitlines())
    return "; ".join(dict.fromkeys([x for x in lines if x and not x.startswith(("Try ", "--"))][-2:]))


def seconds(text: str) -> int | None:
    """A time as Slurm reads and writes it: ``240`` minutes, ``M:S``, ``H:M:S``, ``D-H``, ``D-H:M``, ``D-H:M:S``; None for
    words, as for a job without a limit."""
    days, dash, clock = text.rpartition("-")
    parts = clock.split(":")
    if len(parts) > 3 or not all(
        part.isascii() and part.isdigit() for part in (*parts, days or "0" * (not dash))
    ):
        return None
    units = (3600, 60, 1) if dash or len(parts) == 3 else (60, 1)
    return 86400 * int(days or 0) + sum(int(n) * unit for n, unit in zip(parts, units, strict=False))


def _rows(text: str, fields: int) -> Iterator[list[str]]:
    """The lines of a table; its last field may contain the separator."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|", fields - 1)]
        if len(cells) == fields:
            yield cells


def _first(states: str) -> str:
    """The first word of ``CANCELLED by 0``."""
    return (states.split() or ["UNKNOWN"])[0]


def _chunks(jobs: Iterable[str]) -> Iterator[list[str]]:
    """The arrays of these jobs, some hundreds at a time."""
    arrays = list(dict.fromkeys(job.partition("_")[0] for job in jobs))
    for start in range(0, len(arrays), AT_ONCE):
        yield arrays[start : start + AT_ONCE]
