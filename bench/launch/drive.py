"""What a command does with its plan: submits what is missing, follows it or leaves it to Slurm, and reports. No torch."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from bench import cells, plan, status, store, yardsticks
from bench.cli import Arguments
from bench.config import full
from bench.launch import activity, local, shares, slurm, snapshot
from bench.launch import submission as submissions
from bench.launch.activity import Doing
from bench.launch.follow import Follow
from bench.launch.submission import MODES, Submission
from bench.plan import Plan
from bench.progress import Display
from bench.stages import Stages
from samplers.errors import UserError
from samplers.plugin import text_behind

POLL_SECONDS = 5.0
"""Between looks while waiting for a cluster."""
SUBMISSIONS = 3
"""How often lost cells are submitted again while a command waits."""


def run(planned: Plan, args: Arguments, argv: Sequence[str], started: float) -> int:
    """Submit what is missing, and see it through if it runs here or if asked to. Returns the exit code."""
    stages = Stages(started)
    check_plugins(planned)
    new = not planned.out.exists()
    planned, submission = hand_out(planned, args, argv)
    if submission is None:
        return follow_others(planned, args, argv)
    stages.started_up()
    if submission.execution.executor == "slurm":
        return see_through(planned, args, argv) if args.wait else 0
    return run_here(planned, submission, stages, new)


def hand_out(planned: Plan, args: Arguments, argv: Sequence[str]) -> tuple[Plan, Submission | None]:
    """Alone on the folder: look who is at work, and submit the rest; the submission is None if there is nothing."""
    store.prepare(planned.out, MODES[args.readable_by or "me"])
    if args.readable_by and (mode := planned.out.stat().st_mode & 0o777) != MODES[args.readable_by]:
        raise UserError(
            f"--readable-by {args.readable_by}: {planned.out} is there already, with mode {mode:o}: "
            f"change it with chmod -R, or name another --out"
        )
    with store.lock(planned.out):
        doings = recovered(planned.out)
        planned = prepare(activity.overlay(looked(planned), doings), args)
        store.write_json(planned.out / "grid.json", {"grid": full(planned.grid), "command": list(argv)})
        return planned, submit(planned, args, argv)


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
            print(
                f"{p.cell.formulation} on {p.cell.dataset}, seed {p.cell.seed} is run again: {p.damage}",
                file=sys.stderr,
            )
    from bench import report  # imports pandas

    damaged = report.set_aside(planned)
    for file in damaged:
        print(f"{file} cannot be read: measured again", file=sys.stderr)
    if args.retry is None and not damaged:
        return planned
    ended = ("failed",) if args.retry == "failed" else ("failed", "diverged")
    again = [p for p in planned.cells if p.state in ended] if args.retry else []
    for p in again:
        cells.retry(p.folder, args.retry or "failed")
    changed = {p.folder for p in again} | {file.parent.parent for file in damaged}
    look = plan.Looker(planned.out, planned.grid.evaluation)
    return replace(planned, cells=tuple(look(p.cell) if p.folder in changed else p for p in planned.cells))


def submit(planned: Plan, args: Arguments, argv: Sequence[str]) -> Submission | None:
    """Hand what is to be run to its executor; None if there is nothing. Local workers are not begun here."""
    divided = divided_cells(planned, args)
    if not divided:
        return None
    code, plugins = snapshot.take(planned.out, args.plugins)
    found = shares.as_shares(divided, planned, args.canary)
    if args.canary and not any(share.canary for share in found):
        print("--canary: every formulation has one cell only, so all of them begin at once", file=sys.stderr)
    submission = submissions.new(planned.out, planned.grid, args.execution, found, code, plugins, argv)
    submissions.write(submission)
    if submission.execution.executor == "slurm":
        try:
            taken = slurm.submit(submission, args.slurm)
        except UserError:
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
    jobs = ", ".join(f"{array.job} ({len(array.shares)} workers)" for array in taken.arrays)
    count = sum(len(submission.shares[i].cells) for array in taken.arrays for i in array.shares)
    print(f"submitted {count} cells as job {jobs}")
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
        print(f"nothing to submit: {status.counts(planned)}", file=sys.stderr)
        print("--status tells more, --wait waits for them", file=sys.stderr)
        return 0
    from bench import report  # imports pandas

    print(f"nothing to run: {status.counts(planned)}", file=sys.stderr)
    return report.report(planned, None)


def see_through(planned: Plan, args: Arguments, argv: Sequence[str]) -> int:
    """Until nobody is at any of the plan's cells; what was lost on the way is submitted again. Then report."""
    from bench import report  # imports pandas

    for _ in range(SUBMISSIONS):
        planned, lost = wait(planned)
        if not lost:
            break
        print(f"{lost} cells lost their workers: submitted again", file=sys.stderr)
        planned, submission = hand_out(planned, replace(args, retry=None), argv)
        if submission and submission.execution.executor == "local":
            raise UserError("the workers are gone: the same command without --wait goes on")
    return report.report(planned, None)


def wait(planned: Plan) -> tuple[Plan, int]:
    """Until nobody is at any of the plan's cells; returns them, and how many were lost by no fault of their own."""
    told = ""
    with Display() as display:
        while True:
            planned = looked(planned)
            try:
                doings = activity.survey(planned.out)
            except UserError as error:  # Slurm does not answer for a while
                counts, busy = str(error), True
            else:
                now = activity.overlay(planned, doings)
                counts, busy = status.counts(now), any(p.state in plan.BUSY for p in now.cells)
            if counts != told:
                told = counts
                display.say(counts)
            if not busy:
                break
            time.sleep(POLL_SECONDS)
    left = {p.cell.id for p in planned.ready()}
    ways = {cell: d.ending for d in doings if not d.submission.cancelled for cell in d.cells if cell in left}
    return planned, sum(way in ("lost", "saved") for way in ways.values())


def run_here(planned: Plan, submission: Submission, stages: Stages, new: bool) -> int:
    """Run the shares on this machine, and report. A first signal lets every worker save; a second ends all at once."""
    from bench import report  # imports pandas

    pool = local.Pool(submission)
    with stopped_by_signals(pool), Display() as display:
        if pool.several:
            display.say(status.counts(planned))
        pool.run(Follow(submission, display, pool.endings))
    if {*pool.endings.values()} == {"refused"}:
        discard(submission, new)
        raise UserError(str(pool.reasons[min(pool.reasons)]))
    if pool.stopping:
        raise KeyboardInterrupt
    ended = [(e, pool.reasons[i]) for i, e in sorted(pool.endings.items()) if e not in ("settled", "failed")]
    for ending, reason in dict.fromkeys(ended):
        print(f"error: {reason or ending}", file=sys.stderr)
    return report.report(looked(planned), stages, submission)


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
    shutil.rmtree(submission.folder, ignore_errors=True)
    if new and not (submission.out / "cells").exists():
        shutil.rmtree(submission.out, ignore_errors=True)


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
    told = (
        f"{len(active)} submissions cancelled; their cells keep their checkpoints"
        if active
        else "nothing is at work"
    )
    print(f"{told} in {out}")
    return 0


def looked(planned: Plan) -> Plan:
    """The plan with its cells as they are now."""
    look = plan.Looker(planned.out, planned.grid.evaluation)
    return replace(planned, cells=tuple(look(p.cell) for p in planned.cells))
