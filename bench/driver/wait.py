"""Waits for workers of other commands and of launchers, and submits again what they lost. No torch."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace

from bench.cli.parser import Arguments
from bench.driver.hand_out import alone, hand_out, looked
from bench.launch import activities, launchers
from bench.launch.activities import Activity
from bench.planning import plan
from bench.planning.plan import Plan
from bench.runfolder import lease
from bench.runfolder import submission as submissions
from bench.runfolder.manifest import PROGRAM
from bench.status import status
from bench.status.progress import Display
from flowbench._core.errors import UserError
from flowbench._core.terminal import many

log = logging.getLogger(__name__)

PAUSES = (3.0, 20.0)
"""Seconds between looks while waiting: the shortest after a change, the longest when nothing happens."""
SUBMISSIONS = 3
"""How often lost cells are submitted again while a command waits."""


def follow_others(planned: Plan, args: Arguments, argv: Sequence[str]) -> int:
    """Nothing to submit: report, or print which workers have the rest."""
    if any(p.state in plan.BUSY for p in planned.cells):
        if args.wait:
            return see_through(planned, args, argv)
        refuse_other_options(planned, argv)
        if args.program != PROGRAM:
            log.info("another command trains: %s; try again when it has ended", status.counts(planned))
            return 0
        log.info("nothing to submit: %s", status.counts(planned))
        log.info("--status shows more, --wait waits for them")
        return 0
    from bench.driver import run_summary  # imports pandas

    log.info("nothing to run: %s", status.counts(planned))
    untracked(args)
    with alone(planned, args, argv):
        return run_summary.report(planned, None)


def untracked(args: Arguments) -> None:
    """Log that a command which ran nothing has tracked nothing, if it was to."""
    if args.execution.track:
        log.info(
            "--track %s: no cell was left to train or measure, so nothing is tracked", args.execution.track
        )


def refuse_other_options(planned: Plan, argv: Sequence[str]) -> None:
    """Raises :class:`UserError` if all that is left is queued or running with other options of its launcher than these."""
    left = {p.cell.id for p in planned.cells if p.state in plan.BUSY}
    for submission in reversed(submissions.all_of(planned.out)):
        if left & {cell for share in submission.shares for cell in share.cells}:
            name = submission.execution.executor
            before, now = (
                sorted(launchers.take(words)[0].get(name, [])) for words in (submission.command, argv)
            )
            if now and before != now:
                shown = " ".join(f"--{name}.{key}={value}" for key, value in before) or "none"
                raise UserError(
                    f"nothing was submitted: {status.counts(planned)} with other --{name}.* options ({shown}): "
                    f"--cancel them first, or leave the options as they were"
                )
            return


def see_through(planned: Plan, args: Arguments, argv: Sequence[str]) -> int:
    """Until no worker has any of the plan's cells; what was lost on the way is submitted again. Then report."""
    from bench.driver import run_summary  # imports pandas

    for tries in range(SUBMISSIONS + 1):
        planned, lost, following = wait(planned)
        if not (lost or following) or tries == SUBMISSIONS or args.launcher.drives:
            break  # what another command lost that drove them, this one's report says how to go on with
        if lost:
            log.info("%s lost: submitted again", many(lost, "cell"))
        if following:
            log.info("%s submitted, as their parents are trained", many(following, "cell"))
        planned, _ = hand_out(planned, replace(args, retry=None), argv)
    with alone(planned, args, argv):
        return run_summary.report(planned, None)


def wait(planned: Plan) -> tuple[Plan, int, int]:
    """Until no worker has any of the plan's cells; returns them, how many were lost by no fault of their own, and how many
    waited for parents that have ended."""
    shown, pause = "", PAUSES[0]
    with Display() as display:
        while True:
            planned = looked(planned, again=False)
            try:
                surveyed = activities.survey(planned.out)
            except UserError as error:  # such as that Slurm does not answer for a while
                counts, busy = str(error), True
            else:
                now = activities.overlay(planned, surveyed)
                counts, busy = status.counts(now), any(p.state in plan.BUSY for p in now.cells)
            if counts != shown:
                shown, pause = counts, PAUSES[0]
                display.say(counts)
            if not busy:
                break
            time.sleep(pause)
            pause = min(1.5 * pause, PAUSES[1])
    return planned, len(lost_cells(planned, surveyed)), len(followers(planned, surveyed))


def followers(planned: Plan, surveyed: Sequence[Activity]) -> list[str]:
    """The ids of cells that waited for parents of other submissions, which have ended now."""
    ended = {p.cell.id for p in planned.parents if p.state in plan.ENDED}
    had = {cell for activity in surveyed for cell in activity.cells}
    ready = {p.cell.id for p in planned.ready() if {c.id for c in p.cell.ancestors} & ended}
    return sorted(ready - had)


def lost_cells(planned: Plan, surveyed: Sequence[Activity]) -> list[str]:
    """The ids of cells that were not cancelled and whose workers ended by no fault of the cells."""
    left = {p.cell.id for p in planned.ready()}
    newest = {cell: activity for activity in surveyed for cell in activity.cells if cell in left}
    ended = {
        activity.name: activity
        for activity in newest.values()
        if activity.ending in ("lost", "saved", "fenced")
    }
    said = activities.explain(ended.values())
    gone = set()
    for name, activity in ended.items():
        begun = lease.state(activity.submission, activity.index) != {}
        # what was saved was asked to; without accounting it is not known whether by a user
        known = said.get(name, "CANCELLED" if activity.ending == "saved" else "")
        if begun and not activity.submission.cancelled and not known.startswith("CANCELLED"):
            gone.add(name)
    return [cell for cell, activity in newest.items() if activity.name in gone]
