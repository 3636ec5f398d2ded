"""What a command does with its plan: submits what is missing, follows it or leaves it to Slurm, and reports. No torch."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from bench import cells, confirm, lease, manifest, plan, sense, status, store, sweep, yardsticks
from bench.cells import Changed
from bench.cli import Arguments
from bench.failure import Failure
from bench.launch import activity, checks, local, options, queue, shares, slurm, snapshot
from bench.launch import submission as submissions
from bench.launch.activity import Doing
from bench.launch.codes import Ending
from bench.launch.follow import Follow
from bench.launch.submission import MODES, Submission
from bench.plan import Plan
from bench.progress import Display
from bench.stages import Stages
from bench.wording import many, place, short
from samplers.errors import UserError
from samplers.plugin import text_behind

PAUSES = (3.0, 20.0)
"""Seconds between looks while waiting: the shortest after a change, the longest when nothing happens."""
OVER = "the time of --minutes is over"
"""Why workers save and stop."""
SUBMISSIONS = 3
"""How often lost cells are submitted again while a command waits."""


def run(planned: Plan, args: Arguments, argv: Sequence[str], started: float) -> int:
    """Submit what is missing, and see it through if it runs here or if asked to. Returns the exit code."""
    stages = Stages(started)
    check_plugins(planned)
    if args.execution.executor == "slurm":
        slurm.check(args.slurm, args.execution.device)
    new = not planned.out.exists()
    planned, submission = hand_out(planned, args, argv)
    if submission is None:
        return follow_others(planned, args, argv)
    stages.started_up()
    if submission.execution.executor == "slurm":
        if args.wait:
            return see_through(planned, args, argv)
        taken = sum(len(array.shares) for array in slurm.read_arrays(submission) or [])
        return 0 if taken == len(submission.shares) else 1
    from bench import report  # imports pandas

    planned, submission = run_here(planned, submission, new, args, argv)
    return report.report(planned, stages, [submission])


def run_here(
    planned: Plan,
    submission: Submission,
    new: bool,
    args: Arguments,
    argv: Sequence[str],
    until: Callable[[Plan], float | None] = lambda planned: None,
) -> tuple[Plan, Submission]:
    """Run the shares on this machine; returns the plan as it is then, and the submission that was run.

    Workers find that data have changed, and mark the cells that were trained on others. With ``--retry all`` those cells are
    then submitted again, too. Raises :class:`bench.cells.Changed` otherwise. ``until`` gives the time of
    :func:`run_shares` for a plan.
    """
    try:
        return run_shares(planned, submission, new, until(planned)), submission
    except Changed:
        if args.retry != "all":
            raise
        planned, again = hand_out(looked(planned), args, argv)
        if again is None:  # another command has taken them
            raise
    return run_shares(planned, again, False, until(planned)), again


def hand_out(planned: Plan, args: Arguments, argv: Sequence[str]) -> tuple[Plan, Submission | None]:
    """Alone on the folder: look who is at work, and submit the rest; the submission is None if there is nothing.

    What is refused leaves no new folder behind.
    """
    new = not planned.out.exists()
    store.prepare(planned.out, MODES[args.readable_by or "me"])
    if args.readable_by and (mode := planned.out.stat().st_mode & 0o777) != MODES[args.readable_by]:
        raise UserError(
            f"--readable-by {args.readable_by}: {planned.out} is there already, with mode {mode:o}: "
            f"change it with chmod -R g+rX or a+rX, or name another --out"
        )
    with store.lock(planned.out):
        doings = recovered(planned.out)
        if not any(doing.active for doing in doings):
            sweep.sweep(planned.out)
        planned = prepare(activity.overlay(looked(planned), doings), args)
        manifest.write(planned, argv)
        if not planned.chosen and confirm.discard_other(planned):
            print("the confirmation of another configuration is no longer shown", file=sys.stderr)
        try:
            return planned, submit(planned, args, argv)
        except UserError:
            if new:
                remove_unused(planned.out)
            raise


def check_plugins(planned: Plan) -> None:
    """Conformance of the formulations that plugins add, before anything is written. Raises :class:`UserError`."""
    names = [name for name in plan.formulations_of(planned) if text_behind(name)]
    if names:
        from bench import provenance  # imports torch

        provenance.check_formulations(planned.grid, [p for p in planned.cells if p.cell.formulation in names])


def recovered(out: Path) -> list[Doing]:
    """What is going on in a folder; submissions whose command died while it submitted are put in order first."""
    for submission in submissions.all_of(out):
        if submission.execution.executor == "slurm" and not (submission.folder / "closed").exists():
            slurm.recover(submission)
    until = time.monotonic() + 2 * activity.FADING_SECONDS
    doings = activity.survey(out)
    while any(doing.fading for doing in doings) and time.monotonic() < until:
        time.sleep(0.5)  # it is about to save and end
        doings = activity.survey(out)
    activity.close(doings)
    return doings


def prepare(planned: Plan, args: Arguments) -> Plan:
    """Say what was found damaged, and let failed cells run again if asked to."""
    for p in planned.cells:
        if p.damage:
            which = f"{p.cell.formulation} on {place(p.cell, planned.grid)}"
            print(f"{which} is run again: {p.damage}", file=sys.stderr)
    from bench import report  # imports pandas

    damaged = report.set_aside(planned)
    for p, file in damaged:
        which = f"{p.cell.formulation} on {place(p.cell, planned.grid)}"
        print(f"{which} is measured again: {file} cannot be read", file=sys.stderr)
    if args.retry is None and not damaged:
        return planned
    ended = ("failed",) if args.retry == "failed" else ("failed", "diverged")
    again = [p for p in planned.cells if p.state in ended] if args.retry else []
    if args.retry == "all":
        again += [
            p
            for p in planned.cells
            if p.state not in (*ended, *plan.BUSY) and (p.folder / cells.CHANGED).exists()
        ]
    for p in again:
        if (p.folder / cells.CHANGED).exists():
            yardsticks.file(planned.out, planned.grid, p.cell.dataset).unlink(missing_ok=True)
        cells.retry(p.folder, args.retry or "failed")
    changed = {p.folder for p in [*again, *(p for p, _ in damaged)]}
    look = plan.Looker(planned.out, planned.grid.evaluation)
    return replace(planned, cells=tuple(look(p.cell) if p.folder in changed else p for p in planned.cells))


def submit(planned: Plan, args: Arguments, argv: Sequence[str]) -> Submission | None:
    """Hand what is to be run to its executor; None if there is nothing. Local workers are not begun here."""
    divided = divided_cells(planned, args)
    if not divided:
        return None
    memory = checks.check(divided, planned.grid, planned.out, args.execution, args.slurm)
    if memory and memory.doubtful:
        print(f"warning: it may not fit: {memory}", file=sys.stderr)
    for sentence in sense.warnings(planned.grid):
        print(f"warning: {sentence}", file=sys.stderr)
    code, plugins = snapshot.take(planned.out, args.plugins, args.execution.trusted)
    found = shares.as_shares(divided, planned, args.canary)
    if args.canary and not any(share.canary for share in found):
        print("--canary: every formulation has one cell only, so all of them begin at once", file=sys.stderr)
    handed = args.execution, found, code, plugins, argv, snapshot.commit()
    submission = submissions.new(planned.out, planned.grid, *handed)
    submissions.write(submission)
    if submission.execution.executor == "slurm":
        try:
            taken = slurm.submit(submission, args.slurm)
        except UserError:
            # a request without an answer may have been accepted: then the next command sees to it
            with suppress(UserError):
                if not slurm.strays(submission, []):
                    shutil.rmtree(submission.folder)
            raise
        tell_submitted(submission, taken, args)
    return submission


def divided_cells(planned: Plan, args: Arguments) -> list[list[plan.Planned]]:
    """The cells of each worker. Yardsticks alone are work for one, too."""
    execution = args.execution
    slots = len(local.slots(execution)) if execution.executor == "local" else 1
    divided = shares.divide(planned, execution.executor, slots, execution.pack, args.canary)
    busy = any(p.state in plan.BUSY for p in planned.cells)
    if not divided and not busy and yardsticks.lacking(planned.out, planned.grid):
        return [[]]
    return divided


def tell_submitted(submission: Submission, taken: slurm.Submitted, args: Arguments) -> None:
    """What Slurm took, and how to go on."""
    jobs = ", ".join(f"{array.job} ({many(len(array.shares), 'worker')})" for array in taken.arrays)
    count = sum(len(submission.shares[i].cells) for array in taken.arrays for i in array.shares)
    print(f"submitted {many(count, 'cell')} as job {jobs}")
    if taken.refused:
        print(
            f"{taken.workers} of {len(submission.shares)} workers submitted; Slurm takes no more ({taken.refused}): "
            f"the same command later submits the rest"
        )
    if not args.wait:
        print(
            "the same command with --status tells how far they are; again without it, when all is done, it ranks them"
        )


def follow_others(planned: Plan, args: Arguments, argv: Sequence[str]) -> int:
    """Nothing to submit: report, or tell who is at it."""
    if any(p.state in plan.BUSY for p in planned.cells):
        if args.wait:
            return see_through(planned, args, argv)
        refuse_other_options(planned, argv)
        print(f"nothing to submit: {status.counts(planned)}", file=sys.stderr)
        print("--status tells more, --wait waits for them", file=sys.stderr)
        return 0
    from bench import report  # imports pandas

    print(f"nothing to run: {status.counts(planned)}", file=sys.stderr)
    return report.report(planned, None)


def refuse_other_options(planned: Plan, argv: Sequence[str]) -> None:
    """Raises :class:`UserError` if all that is left is queued or running with other ``--slurm`` options than these."""
    left = {p.cell.id for p in planned.cells if p.state in plan.BUSY}
    for submission in reversed(submissions.all_of(planned.out)):
        if left & {cell for share in submission.shares for cell in share.cells}:
            before, now = (sorted(options.take(words)[0]) for words in (submission.command, argv))
            if submission.execution.executor == "slurm" and now and before != now:
                told = " ".join(f"{options.PREFIX}{key}={value}" for key, value in before) or "none"
                raise UserError(
                    f"nothing was submitted: {status.counts(planned)} with other {options.PREFIX}* options ({told}): "
                    f"--cancel them first, or leave the options as they were"
                )
            return


def see_through(planned: Plan, args: Arguments, argv: Sequence[str]) -> int:
    """Until nobody is at any of the plan's cells; what was lost on the way is submitted again. Then report."""
    from bench import report  # imports pandas

    for tries in range(SUBMISSIONS + 1):
        planned, lost = wait(planned)
        if not lost or tries == SUBMISSIONS or args.execution.executor == "local":
            break  # what another local command lost, this one's report says how to go on with
        print(f"{many(lost, 'cell')} lost: submitted again", file=sys.stderr)
        planned, _ = hand_out(planned, replace(args, retry=None), argv)
    return report.report(planned, None)


def wait(planned: Plan) -> tuple[Plan, int]:
    """Until nobody is at any of the plan's cells; returns them, and how many were lost by no fault of their own."""
    told, pause = "", PAUSES[0]
    with Display() as display:
        while True:
            planned = looked(planned, again=False)
            try:
                doings = activity.survey(planned.out)
            except UserError as error:  # Slurm does not answer for a while
                counts, busy = str(error), True
            else:
                now = activity.overlay(planned, doings)
                counts, busy = status.counts(now), any(p.state in plan.BUSY for p in now.cells)
            if counts != told:
                told, pause = counts, PAUSES[0]
                display.say(counts)
            if not busy:
                break
            time.sleep(pause)
            pause = min(1.5 * pause, PAUSES[1])
    return planned, len(lost_cells(planned, doings))


def lost_cells(planned: Plan, doings: Sequence[Doing]) -> list[str]:
    """The cells whose workers ended by no fault of their own, and that nobody has cancelled: ids."""
    left = {p.cell.id for p in planned.ready()}
    newest = {cell: doing for doing in doings for cell in doing.cells if cell in left}
    ended = {doing.job: doing for doing in newest.values() if doing.ending in ("lost", "saved", "fenced")}
    said = queue.explain([job for job in ended if job])
    gone = set()
    for job, doing in ended.items():
        begun = lease.state(doing.submission, doing.index) != {}
        # what was saved was asked to; without accounting nobody can tell whether by a user
        known = said.get(job, "CANCELLED" if doing.ending == "saved" else "")
        if begun and not doing.submission.cancelled and not known.startswith("CANCELLED"):
            gone.add(job)
    return [cell for cell, doing in newest.items() if doing.job in gone]


def run_shares(planned: Plan, submission: Submission, new: bool, until: float | None = None) -> Plan:
    """Run the shares on this machine; returns the plan as it is then. After a signal every worker saves; a second one waits
    for nothing. At ``until`` (by ``time.perf_counter``) they save, too."""
    pool = local.Pool(submission)
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
        told = left_by(planned, submission, ending, alike) + failures[alike[0]].message
        print(f"error: {told}{where}", file=sys.stderr)
    return planned


def left_by(planned: Plan, submission: Submission, ending: Ending, alike: Sequence[int]) -> str:
    """``3 cells held back: `` or ``3 cells not run: ``: what workers that ended so have left behind."""
    theirs = {cell for index in alike for cell in submission.shares[index].cells}
    left = sum(p.state not in plan.ENDED for p in planned.cells if p.cell.id in theirs)
    return f"{many(left, 'cell')} {'held back' if ending == 'held' else 'not run'}: " if left else ""


@contextmanager
def stopped_by_signals(pool: local.Pool) -> Iterator[None]:
    """Within the block, the first signal asks the workers to save and stop; after it signals do what they did before."""
    before: dict[signal.Signals, Any] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(number: int, frame: FrameType | None) -> None:
        pool.stop(signal.Signals(number).name)
        restore()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        restore()


def discard(submission: Submission, new: bool) -> None:
    """Remove a submission that was refused; the whole run folder if nothing else was ever in it."""
    with store.lock(submission.out):
        shutil.rmtree(submission.folder, ignore_errors=True)
        if new:
            remove_unused(submission.out)


def remove_unused(out: Path) -> None:
    """Remove a run folder, unless something was submitted or trained in it."""
    if not (out / "cells").exists() and not any((out / "submissions").glob("*")):
        shutil.rmtree(out, ignore_errors=True)


def cancel(out: Path) -> int:
    """Cancel every submission of a folder that is still at work. Cells keep their checkpoints."""
    if not out.is_dir():
        raise UserError(f"--cancel: there is no run in {out}")
    with store.lock(out):
        active = {d.submission.folder: d.submission for d in recovered(out) if d.active}
        for submission in active.values():
            store.write_text(submission.folder / "cancelled", "")
            if submission.execution.executor == "slurm":
                slurm.cancel(submission)
    cancelled = f"{many(len(active), 'submission')} cancelled, cells keep their checkpoints"
    print(f"{cancelled if active else 'nothing is at work'} in {out}")
    return 0


def looked(planned: Plan, again: bool = True) -> Plan:
    """The plan with its cells as they are now; ``again`` looks also at those that were at their end."""
    look = plan.Looker(planned.out, planned.grid.evaluation)
    cells_now = (look(p.cell) if again or p.state not in plan.ENDED else p for p in planned.cells)
    return replace(planned, cells=tuple(cells_now))
