"""The activity of a run folder's workers, from their files and from their launchers. No torch.

The folder decides; a silent worker is called silent, and taken for gone only if its launcher does not list it either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from bench.launch import launchers
from bench.launch.launchers import Seen
from bench.planning.plan import ENDED, Plan, Planned, State
from bench.runfolder import lease
from bench.runfolder import submission as submissions
from bench.runfolder.failure import Failure
from bench.runfolder.submission import Submission
from flowbench._core import atomic

FADING_SECONDS = 3 * lease.BEAT_SECONDS
"""A worker whose supervisor is gone notices at its next beat; after so long it has ended."""


@dataclass(frozen=True)
class Activity:
    """One share: queued, running, or gone, with how it ended and why; ``cause`` is equal for reasons that are alike."""

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
    """Running without its supervisor: it will save and end in a moment, or has died."""

    @property
    def cells(self) -> tuple[str, ...]:
        """Ids of its cells."""
        return self.submission.shares[self.index].cells

    @property
    def name(self) -> tuple[str, str]:
        """Its launcher, and the job there."""
        return self.submission.execution.executor, self.job

    @property
    def active(self) -> bool:
        """Whether a worker has it or will have it."""
        return self.state != "gone"


def survey(out: Path, closed: bool = False) -> list[Activity]:
    """Every share of the submissions that are not closed (or of all), oldest first.

    Raises :class:`UserError` if a launcher must ask elsewhere and gets no answer.
    """
    found = submissions.all_of(out)
    by_launcher: dict[str, list[Submission]] = {}
    for submission in found:
        if not submission.closed:
            by_launcher.setdefault(submission.execution.executor, []).append(submission)
    seen: dict[str, Mapping[int, Seen]] = {}
    for group in by_launcher.values():
        seen |= zip((s.id for s in group), launchers.of(group[0]).survey(group), strict=True)
    chosen = [submission for submission in found if closed or submission.id in seen]
    return [activity for s in chosen for activity in of_submission(s, seen.get(s.id, gone(s)))]


def gone(submission: Submission) -> dict[int, Seen]:
    """The shares that a launcher took, as all gone."""
    return {share: Seen("gone", job=job) for share, job in launchers.of(submission).jobs(submission).items()}


def of_submission(submission: Submission, seen: Mapping[int, Seen]) -> list[Activity]:
    """Every share of a submission, by its files and by what its launcher lists of the shares that it took."""
    lost = launchers.of(submission).lost
    return [share(submission, index, seen.get(index), lost) for index in range(len(submission.shares))]


def share(submission: Submission, index: int, seen: Seen | None, lost: str) -> Activity:
    """A share by its files and by what its launcher lists, None if it was never taken; ``lost`` is the reason without any
    other."""
    kept = lease.state(submission, index)
    failure = Failure.read(kept.get("error")) or Failure("", "", "")
    activity = Activity(submission, index, "gone", kept.get("state", ""), failure.message, failure.cause)
    if seen is None:
        return activity
    activity = replace(activity, job=seen.job)
    if seen.state == "queued":
        return replace(activity, state="queued", reason=seen.reason)
    runs = seen.state == "running"
    if activity.ending not in ("", "running", "saved") or (activity.ending == "saved" and not runs):
        return activity
    if runs or activity.ending:
        silent, beat = lease.silence(submission.folder, index), lease.read(submission.beat_file(index))
        if runs or (silent <= FADING_SECONDS and not beat.get("over")):
            return replace(
                activity, state="running", node=seen.node, silent=silent, beat=beat, fading=not runs
            )
    return replace(activity, ending="lost", reason=lost)


def explain(surveyed: Iterable[Activity]) -> dict[tuple[str, str], str]:
    """How the jobs of shares ended, as far as their launchers can tell, by :attr:`Activity.name`."""
    asked: dict[str, dict[str, Submission]] = {}
    for activity in surveyed:
        if activity.job:
            asked.setdefault(activity.name[0], {})[activity.job] = activity.submission
    return {
        (name, job): ending
        for name, jobs in asked.items()
        for job, ending in launchers.of(next(iter(jobs.values()))).explain(sorted(jobs)).items()
    }


def overlay(plan: Plan, surveyed: Iterable[Activity]) -> Plan:
    """The plan with the cells of active shares as ``running`` and ``queued``. A cell whose parent is in one is queued, too,
    until that has ended."""
    busy: dict[str, State] = {
        cell: activity.state for activity in surveyed if activity.state != "gone" for cell in activity.cells
    }

    def now(p: Planned) -> Planned:
        if p.state in ENDED:
            return p
        waits = any(cell.id in waiting for cell in p.cell.ancestors)
        return replace(p, state=busy.get(p.cell.id, "queued" if waits else p.state))

    waiting = {p.cell.id for p in plan.parents if p.state not in ENDED and p.cell.id in busy}
    return plan.mapped(now)


def close(surveyed: Sequence[Activity]) -> None:
    """Mark the submissions without any active share, so that they are not looked at again.

    A share that was lost is marked, too: should its worker live after all, it finds that, and stops.
    """
    for activity in surveyed:
        if (
            activity.ending == "lost"
            and lease.state(activity.submission, activity.index).get("state") == "running"
        ):
            lease.revoke(activity.submission, activity.index, activity.reason)
    active = {activity.submission.folder for activity in surveyed if activity.active}
    for folder in {activity.submission.folder for activity in surveyed} - active:
        atomic.write_text(folder / "closed", "")
