"""Drives the workers of a submission until all have ended, time is over, or a signal comes. No torch."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from bench.cli.parser import Arguments
from bench.driver.follow import Follow
from bench.driver.hand_out import discard, hand_out, looked
from bench.launch import launchers
from bench.launch.codes import Ending
from bench.launch.pool import Pool
from bench.planning import plan
from bench.planning.plan import Plan
from bench.runfolder import submission as submissions
from bench.runfolder.cell_folder import Changed
from bench.runfolder.failure import Failure
from bench.runfolder.submission import Submission
from bench.status import status
from bench.status.progress import Display
from flowbench._core.errors import UserError
from flowbench._core.terminal import many, short

log = logging.getLogger(__name__)

OVER = "the time of --minutes is over"
"""Why workers save and stop."""


def run_here(
    planned: Plan,
    submission: Submission,
    new: bool,
    args: Arguments,
    argv: Sequence[str],
    until: Callable[[Plan], float | None] = lambda planned: None,
) -> tuple[Plan, Submission]:
    """Run the shares; returns the plan as it is then, and the submission that was run.

    Workers find that data have changed, and mark the cells that were trained on others. With ``--retry all`` those cells are
    then submitted again, too. Raises :class:`bench.runfolder.cell_folder.Changed` otherwise. ``until`` gives the time of
    :func:`run_shares` for a plan.
    """
    try:
        return run_shares(planned, submission, new, until(planned)), submission
    except Changed:
        if args.retry != "all":
            raise
        planned, again = hand_out(looked(planned), args, argv, submission)
        if again is None:  # another command has taken them
            raise
    return run_shares(planned, again, False, until(planned)), again


def run_shares(planned: Plan, submission: Submission, new: bool, until: float | None = None) -> Plan:
    """Run the shares; returns the plan as it is then. After a signal every worker saves; a second one waits
    for nothing. At ``until`` (by ``time.perf_counter``) they save, too."""
    pool = launchers.of(submission).pool(submission)
    over = False

    def watch() -> None:
        nonlocal over
        follow()
        if until is not None and not over and time.perf_counter() > until:
            over = pool.stopping is None
            pool.stop(OVER)

    with stopped_by_signals(pool), Display() as display:
        if pool.several:
            display.say(status.counts(planned))
        follow = Follow(submission, display, pool.begun, pool.endings)
        pool.run(watch)
    failures = {
        index: pool.failures[index] or Failure("", ending, "") for index, ending in pool.endings.items()
    }
    if {*pool.endings.values()} == {"refused"}:
        discard(submission, new)
        first = failures[min(failures)]
        raise Changed(first.message) if first.kind == Changed.__name__ else UserError(first.message)
    if unwritable := [index for index, ending in sorted(pool.endings.items()) if ending == "unwritable"]:
        raise UserError(failures[unwritable[0]].message)
    if pool.stopping and pool.stopping != OVER:
        raise KeyboardInterrupt
    expected = ("settled", "failed", *(["saved"] if over else []))
    planned = looked(planned)
    ended: dict[tuple[Ending, str], list[int]] = {}
    for index, ending in sorted(pool.endings.items()):
        if ending not in expected:
            ended.setdefault((ending, failures[index].cause), []).append(index)
    for (ending, _), alike in ended.items():
        trace = submissions.error_file(submission.folder, alike[0])
        where = f" (see {short(trace)})" if ending == "broken" and trace.exists() else ""
        text = left_by(planned, submission, ending, alike) + failures[alike[0]].message
        log.error("%s%s", text, where)
    return planned


def left_by(planned: Plan, submission: Submission, ending: Ending, alike: Sequence[int]) -> str:
    """``3 cells held back: `` or ``3 cells not run: ``: what workers that ended so have left behind."""
    theirs = {cell for index in alike for cell in submission.shares[index].cells}
    left = sum(p.state not in plan.ENDED for p in planned.cells if p.cell.id in theirs)
    return f"{many(left, 'cell')} {'held back' if ending == 'held' else 'not run'}: " if left else ""


@contextmanager
def stopped_by_signals(pool: Pool) -> Iterator[None]:
    """Within the block, the first signal asks the workers to save and stop; after it signals do what they did before."""
    before: dict[signal.Signals, Any] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(number: int, frame: FrameType | None) -> None:
        pool.stop(signal.Signals(number).name)
        restore()

    main = (
        threading.current_thread() is threading.main_thread()
    )  # others have no handlers, as in a notebook's server
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if main else ():
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        restore()
