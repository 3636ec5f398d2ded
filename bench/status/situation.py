"""How a plan stands at one moment: its cells, who is or was at them, and how Slurm says that tasks ended. No torch.

The files decide what state a cell is in. Slurm tells why a task waits, and how it ended where no file could.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from bench.launch import activity
from bench.launch.activity import Doing
from bench.launch.slurm import arrays, queue
from bench.planning import plan
from bench.planning.plan import BUSY, ENDED, Plan, Planned
from bench.runfolder import lease
from bench.runfolder import submission as submissions
from bench.runfolder.submission import Submission
from flowbench._core.errors import UserError

BAD = ("lost", "killed", "broken", "refused", "unwritable", "held", "unfit", "fenced")
"""Endings of a worker that leave cells behind and that somebody should look at."""
SILENCED = "Slurm does not answer"


@dataclass(frozen=True)
class Situation:
    """``newest`` tells who has each cell, or had it last; ``trouble`` why Slurm could not be asked, if so; ``ended`` what
    sacct tells, by task id."""

    plan: Plan
    doings: tuple[Doing, ...]
    newest: dict[str, Doing]
    trouble: str | None
    ended: dict[str, str]

    @cached_property
    def cells(self) -> dict[str, Planned]:
        """The plan's cells by id."""
        return {p.folder.name: p for p in self.plan.cells}

    @cached_property
    def left(self) -> list[tuple[Planned, Doing]]:
        """The cells that are not finished and that no worker has, each with who had it last."""
        had = [(p, self.newest.get(p.folder.name)) for p in self.plan.ready()]
        # a share that Slurm never took has no task, and lost nothing
        return [(p, d) for p, d in had if d and (d.job or d.ending != "lost")]

    def unfinished(self, doing: Doing) -> list[Planned]:
        """The plan's cells that a worker has still to bring to their end."""
        return [p for c in doing.cells if (p := self.cells.get(c)) and p.state not in ENDED]

    @property
    def busy(self) -> bool:
        """Whether somebody is or will be at one of the cells."""
        return any(p.state in BUSY for p in self.plan.cells)

    @property
    def code(self) -> int:
        """The exit code: 1 if cells failed, or if workers left some behind."""
        bad = any(d.ending in BAD and not d.submission.cancelled for _, d in self.left)
        return int(bad or any(p.state == "failed" for p in self.plan.cells))


def look(planned: Plan, ended: dict[str, str]) -> Situation:
    """How everything is now, if ``planned`` is how it was. ``ended`` keeps what sacct has told of each task."""
    doings, trouble = survey(planned.out)  # before the cells: one that ends meanwhile is finished, not left
    newest = newest_of(doings)
    looker = plan.Looker(planned.out, planned.grid.evaluation)

    def again(p: Planned) -> Planned:
        doing = newest.get(p.folder.name)  # nobody else changes a cell
        same = p.state in ENDED and not doing.active if doing else p.state not in BUSY
        return p if same else looker(p.cell)

    now = activity.overlay(replace(planned, cells=tuple(map(again, planned.cells))), doings)
    found = Situation(now, tuple(doings), newest, trouble, ended)
    gone = {d.job for _, d in found.left if d.job and d.ending in ("lost", "killed", "saved")}
    if asked := gone - ended.keys() if not trouble else ():
        told = queue.explain(sorted(asked))
        ended.update((job, told.get(job, "")) for job in asked)
    return found


def newest_of(doings: Iterable[Doing]) -> dict[str, Doing]:
    """Who has each cell, or had it last, by the cell's id."""
    found: dict[str, Doing] = {}
    for doing in doings:
        for cell in doing.cells:
            if doing.active or not (cell in found and found[cell].active):
                found[cell] = doing
    return found


def survey(out: Path) -> tuple[list[Doing], str | None]:
    """Every share of every submission; and why Slurm could not be asked, if so: then by files alone."""
    try:
        return activity.survey(out, closed=True), None
    except UserError as error:
        found: list[Doing] = []
        for submission in submissions.all_of(out):  # raises again what is not Slurm's
            local = submission.execution.executor == "local"
            found += activity.of_submission(submission, {}, {}) if local else by_files(submission)
        return found, str(error)


def by_files(submission: Submission) -> list[Doing]:
    """The shares of a submission to Slurm by their files: what is not finished runs or waits, as far as we know."""
    closed = (submission.folder / "closed").exists()
    taken = arrays.read_arrays(submission) or []
    tasks = {share: array.task(share) for array in taken for share in array.shares}
    found = []
    for index in range(len(submission.shares)):
        ending, seen = lease.state(submission, index).get("state", ""), None
        if index in tasks and not closed and ending in ("", "saved", "running"):
            seen = queue.Seen("RUNNING" if ending == "running" else "PENDING", SILENCED, "")
        found.append(activity.on_slurm(submission, index, tasks.get(index, ""), seen))
    return found
