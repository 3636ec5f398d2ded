"""What the workers of a run folder are doing, from their files and from what Slurm lists. No torch.

The folder decides; a silent worker is called silent, and taken for gone only if neither Slurm nor the process table
knows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from bench.launch.slurm import executor as slurm
from bench.launch.slurm import queue
from bench.planning.plan import ENDED, Plan, State
from bench.runfolder import lease
from bench.runfolder import submission as submissions
from bench.runfolder.failure import Failure
from bench.runfolder.submission import Submission
from flowbench._core import atomic

FADING_SECONDS = 3 * lease.BEAT_SECONDS
"""A worker that nothing keeps any more notices at its next beat; after so long it has ended."""
OVER = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "TIMEOUT",
}
"""States of a job that has ended, should squeue still list it."""
HUNG_SECONDS = 900.0
"""A process of this machine that has been silent for so long is no longer believed."""


@dataclass(frozen=True)
class Doing:
    """One share: queued, running, or gone; ``ending`` and ``reason`` tell how it went, and ``cause`` is equal for reasons
    that are alike."""

    submission: Submission
    index: int
    state: Literal["queued", "running", "gone"]
    ending: str = ""
    reason: str = ""
    cause: str = ""
    job: str = ""
    node: str = ""
    silent: float = 0.0
    beat: dict[str, Any] = field(default_factory=dict)
    fading: bool = False
    """Running, though nothing that keeps it does: it will save and end in a moment, or has died."""

    @property
    def cells(self) -> tuple[str, ...]:
        """Ids of its cells."""
        return self.submission.shares[self.index].cells

    @property
    def active(self) -> bool:
        """Whether somebody is at it or will be."""
        return self.state != "gone"


def survey(out: Path, closed: bool = False) -> list[Doing]:
    """Every share of the submissions that are not closed (or of all), oldest first.

    Raises :class:`UserError` if Slurm must be asked and does not answer.
    """
    found = submissions.all_of(out)
    over = {submission.id for submission in found if (submission.folder / "closed").exists()}
    chosen = [submission for submission in found if closed or submission.id not in over]
    tasks = {s.id: slurm_tasks(s) for s in chosen}
    asked = [task for s in chosen if s.id not in over for task in tasks[s.id].values()]
    listed = queue.look(asked) if asked else {}
    return [doing for s in chosen for doing in of_submission(s, tasks[s.id], listed)]


def slurm_tasks(submission: Submission) -> dict[int, str]:
    """The names by which Slurm knows a submission's shares."""
    if submission.execution.executor != "slurm":
        return {}
    arrays = slurm.read_arrays(submission) or []
    return {share: array.task(share) for array in arrays for share in array.shares}


def of_submission(
    submission: Submission, tasks: Mapping[int, str], listed: Mapping[str, queue.Seen]
) -> list[Doing]:
    """Every share of a submission, with what squeue lists of its tasks."""
    if submission.execution.executor == "local":
        driver = believed(submission)
        return [local(submission, index, driver) for index in range(len(submission.shares))]
    named = [tasks.get(index, "") for index in range(len(submission.shares))]
    return [on_slurm(submission, index, task, listed.get(task)) for index, task in enumerate(named)]


def believed(submission: Submission) -> bool:
    """Whether the command of a local submission lives.

    Another machine's does if somebody was heard; on this one a process of its number must be there too, and may be silent
    for longer: after a crash of the machine the number may be another's.
    """
    here = lease.on_this_machine(submission.host, submission.pid)
    heard = [lease.silence(submission.folder, index) for index in range(len(submission.shares))]
    silent = min([*heard, lease.age(submission.folder / "submission.json")])
    return here is not False and silent < (HUNG_SECONDS if here else lease.SILENT_SECONDS)


def local(submission: Submission, index: int, driver: bool) -> Doing:
    """A share of this or another machine's own workers; ``driver`` tells whether its command lives."""
    kept = lease.state(submission, index)
    doing = ended(submission, index, kept, node=submission.host)
    if doing.ending not in ("", "running"):
        return doing
    if doing.ending == "":
        return replace(doing, state="queued" if driver and not submission.cancelled else "gone")
    gone = replace(doing, ending="lost", reason="the command that ran it is gone")
    return running(doing, fading=not driver) or gone


def on_slurm(submission: Submission, index: int, task: str, seen: queue.Seen | None) -> Doing:
    """A share that was handed to Slurm as ``task``; ``seen`` is what squeue lists of it."""
    kept = lease.state(submission, index)
    doing = ended(submission, index, kept, job=task)
    if seen is None or seen.state in OVER:
        if not task or doing.ending not in ("", "running"):
            return doing
        gone = replace(doing, ending="lost", reason="Slurm lists it no more, and it left no result")
        return (running(doing, fading=True) or gone) if doing.ending else gone
    if seen.state in ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED"):
        if doing.ending not in ("", "running", "saved"):
            return doing
        return running(replace(doing, node=seen.node), fading=False) or doing
    return replace(doing, state="queued", reason=seen.reason)


def ended(
    submission: Submission, index: int, kept: Mapping[str, Any], job: str = "", node: str = ""
) -> Doing:
    """A share as its supervisor left it."""
    failure = Failure.read(kept.get("error")) or Failure("", "", "")
    return Doing(submission, index, "gone", kept.get("state", ""), failure.message, failure.cause, job, node)


def running(doing: Doing, fading: bool) -> Doing | None:
    """The share as it runs; None if it is ``fading`` and has been silent for some beats, or said that it ended."""
    silent, last = lease.silence(doing.submission.folder, doing.index), beat(doing.submission, doing.index)
    if fading and (silent > FADING_SECONDS or last.get("over")):
        return None
    return replace(doing, state="running", silent=silent, beat=last, fading=fading)


def beat(submission: Submission, index: int) -> dict[str, Any]:
    """What the worker last said of itself."""
    return lease.read(submission.beat_file(index))


def overlay(plan: Plan, doings: Iterable[Doing]) -> Plan:
    """The plan with those cells that some worker has or will have as ``running`` and ``queued``."""
    busy: dict[str, State] = {
        cell: "running" if doing.state == "running" else "queued"
        for doing in doings
        if doing.active
        for cell in doing.cells
    }
    cells = tuple(
        replace(p, state=busy[p.cell.id]) if p.state not in ENDED and p.cell.id in busy else p
        for p in plan.cells
    )
    return replace(plan, cells=cells)


def close(doings: Sequence[Doing]) -> None:
    """Mark the submissions of which no share is active any more, so that nobody need look at them again.

    A share that was lost is marked, too: should its worker live after all, it finds that, and stops.
    """
    for doing in doings:
        if doing.ending == "lost" and lease.state(doing.submission, doing.index).get("state") == "running":
            lease.revoke(doing.submission, doing.index, doing.reason)
    active = {doing.submission.folder for doing in doings if doing.active}
    for folder in {doing.submission.folder for doing in doings} - active:
        atomic.write_text(folder / "closed", "")
