"""The state of a plan at one moment: its cells, their workers, and how launchers report that jobs ended. No torch.

The files decide the state of a cell. A launcher adds why a job waits, and how it ended where no file could.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.launch import activities, launchers
from bench.launch.activities import Activity
from bench.launch.launchers import Seen
from bench.planning import plan
from bench.planning.plan import BUSY, ENDED, Plan, Planned
from bench.runfolder import lease
from bench.runfolder import submission as submissions
from bench.runfolder.submission import Submission
from flowbench._core.errors import UserError

BAD = ("lost", "killed", "broken", "refused", "unwritable", "held", "unfit", "fenced")
"""Endings of a worker that leave cells behind and need attention."""


@dataclass(frozen=True)
class PlanState:
    """``newest`` is the present or last worker of each cell; ``trouble`` why a launcher did not answer, if so; ``ended`` how
    jobs ended, by :attr:`Activity.name`."""

    plan: Plan
    surveyed: tuple[Activity, ...]
    newest: dict[str, Activity]
    trouble: str | None
    ended: dict[tuple[str, str], str]

    @cached_property
    def cells(self) -> dict[str, Planned]:
        """The plan's cells by id."""
        return {p.folder.name: p for p in self.plan.cells}

    @cached_property
    def left(self) -> list[tuple[Planned, Activity]]:
        """The unfinished cells that no worker has, each with its last one."""
        had = [(p, self.newest.get(p.folder.name)) for p in self.plan.ready()]
        # a share that was never taken has no job, and lost nothing
        return [(p, d) for p, d in had if d and (d.job or d.ending != "lost")]

    def unfinished(self, activity: Activity) -> list[Planned]:
        """The plan's cells that a worker still has to finish."""
        return [p for c in activity.cells if (p := self.cells.get(c)) and p.state not in ENDED]

    @property
    def busy(self) -> bool:
        """Whether a worker has or will have one of the cells."""
        return any(p.state in BUSY for p in self.plan.cells)

    @property
    def code(self) -> int:
        """The exit code: 1 if cells failed, or if workers left some behind."""
        bad = any(d.ending in BAD and not d.submission.cancelled for _, d in self.left)
        return int(bad or any(p.state == "failed" for p in self.plan.cells))


def look(planned: Plan, ended: dict[tuple[str, str], str]) -> PlanState:
    """The present state, after the plan's last one. ``ended`` keeps how each job ended."""
    surveyed, trouble = survey(planned.out)  # before the cells: one that ends meanwhile is finished, not left
    newest = newest_of(surveyed)
    reader = plan.StateReader(planned.out, planned.grid)

    def again(p: Planned) -> Planned:
        activity = newest.get(p.folder.name)  # only its worker changes a cell
        same = p.state in ENDED and not activity.active if activity else p.state not in BUSY
        return p if same else reader(p.cell)

    now = activities.overlay(planned.mapped(again), surveyed)
    found = PlanState(now, tuple(surveyed), newest, trouble, ended)
    gone = {d.name: d for _, d in found.left if d.job and d.ending in ("lost", "killed", "saved")}
    if asked := [d for name, d in gone.items() if name not in ended and not trouble]:
        ended.update({d.name: "" for d in asked} | activities.explain(asked))
    return found


def newest_of(surveyed: Iterable[Activity]) -> dict[str, Activity]:
    """The present or last worker of each cell, by the cell's id."""
    found: dict[str, Activity] = {}
    for activity in surveyed:
        for cell in activity.cells:
            if activity.active or not (cell in found and found[cell].active):
                found[cell] = activity
    return found


def survey(out: Path) -> tuple[list[Activity], str | None]:
    """Every share of every submission; and why a launcher did not answer, if so: then by files alone."""
    try:
        return activities.survey(out, closed=True), None
    except UserError as error:
        every = submissions.all_of(out)  # raises again what is no launcher's
        return [d for s in every for d in activities.of_submission(s, by_files(s))], str(error)


def by_files(submission: Submission) -> Mapping[int, Seen]:
    """Where shares are by their files: presumably the unfinished ones run or wait."""
    launcher = launchers.of(submission)
    if launcher.drives:
        return launcher.states(submission)
    found, why = activities.gone(submission), f"{launcher.title} does not answer"
    for index, seen in found.items():
        ending = lease.state(submission, index).get("state", "")
        if not submission.closed and ending in ("", "saved", "running"):
            found[index] = Seen("running" if ending == "running" else "queued", why, job=seen.job)
    return found
