"""Carry out a plan: submit unfinished cells, wait for them or leave them to the launcher, report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.cli.parser import Arguments
from bench.driver.hand_out import alone, check_beforehand, hand_out, recovered
from bench.driver.run_local import run_here
from bench.driver.wait import follow_others, see_through
from bench.launch import launchers
from bench.machine.stage_timer import Stages
from bench.planning.plan import Plan
from bench.runfolder import store
from flowbench._core import atomic
from flowbench._core.errors import UserError
from flowbench._core.terminal import many


def run(planned: Plan, args: Arguments, argv: Sequence[str], started: float) -> int:
    """Submit unfinished cells, and wait for them if they run here or if asked to. Returns the exit code."""
    stages = Stages(started)
    check_beforehand(planned, args)
    args.launcher.reach()
    new = not planned.out.exists()
    planned, submission = hand_out(planned, args, argv)
    if submission is None:
        return follow_others(planned, args, argv)
    stages.started_up()
    if not args.launcher.drives:
        if args.wait:
            return see_through(planned, args, argv)
        return 0 if len(args.launcher.jobs(submission)) == len(submission.shares) else 1
    from bench.driver import run_summary  # imports pandas

    planned, submission = run_here(planned, submission, new, args, argv)
    with alone(planned, args, argv):
        return run_summary.report(planned, stages, [submission])


def cancel(out: Path) -> int:
    """Cancel every submission of a folder that is still at work. Cells keep their checkpoints."""
    if not out.is_dir():
        raise UserError(f"--cancel: there is no run in {out}")
    with store.lock(out):
        active = {d.submission.folder: d.submission for d in recovered(out) if d.active}
        for submission in active.values():
            atomic.write_text(submission.folder / "cancelled", "")
            launchers.of(submission).cancel(submission)
    cancelled = f"{many(len(active), 'submission')} cancelled, cells keep their checkpoints"
    print(f"{cancelled if active else 'nothing is at work'} in {out}")
    return 0
