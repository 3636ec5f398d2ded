"""What a command does with its plan: submits what is missing, follows it or leaves it to Slurm, and reports. No torch."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from bench import cells, estimate, plan, status, store, yardsticks
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


def run(planned: Plan, args: Arguments, argv: Sequence[str], started: float) -> int:
    """Submit what is missing, and see it through if it runs here or if asked to. Returns the exit code."""
    stages = Stages(started)
    check_plugins(planned)
    new = not planned.out.exists()
    store.prepare(planned.out, MODES[args.readable_by])
    with store.lock(planned.out):
        doings = recovered(planned.out)
        planned = prepare(activity.overlay(planned, doings), args)
        store.write_json(planned.out / "grid.json", {"grid": full(planned.grid), "command": list(argv)})
        submission = submit(planned, args, argv)
    if submission is None:
        return follow_others(planned, args)
    stages.started_up()
    if submission.execution.executor == "slurm":
        return wait(planned, args) if args.wait else 0
    ended = run_here(submission, doings=status.counts(planned))
    refused = [index for index, ending in ended.endings.items() if ending == "refused"]
    if refused:
        reason = str(activity.of_submission(submission)[refused[0]].reason)
        discard(submission, new)
        raise UserError(reason)
    if ended.stopping:
        raise KeyboardInterrupt
    for doing in activity.of_submission(submission):
        if doing.ending not in ("settled", "failed"):
            print(f"error: {doing.reason or doing.ending}", file=sys.stderr)
    from bench import report

    return report.report(looked(planned), stages, submission)


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


def follow_others(planned: Plan, args: Arguments) -> int:
    """Nothing to submit: report, or tell who is at it."""
    if any(p.state in plan.BUSY for p in planned.cells):
        if args.wait:
            return wait(planned, args)
        print(f"nothing to submit: {status.counts(planned)}", file=sys.stderr)
        print("--status tells more, --wait waits for them", file=sys.stderr)
        return 0
    print(f"nothing to run: {status.counts(planned)}", file=sys.stderr)
    from bench import report

    return report.report(looked(planned), None)


def wait(planned: Plan, args: Arguments) -> int:
    """Until nobody is at any of the plan's cells; then report."""
    with Display() as display:
        told = ""
        while True:
            now = activity.overlay(looked(planned), activity.survey(planned.out))
            if (counts := status.counts(now)) != told:
                told = counts
                display.say(counts)
            if not any(p.state in plan.BUSY for p in now.cells):
                break
            time.sleep(POLL_SECONDS)
    from bench import report

    return report.report(now, None)


@dataclass(frozen=True)
class Ended:
    """How local workers ended, and the reason if they were asked to stop."""

    endings: dict[int, str]
    stopping: str | None


def run_here(submission: Submission, doings: str) -> Ended:
    """Run the shares on this machine. A first signal lets every worker save; a second ends this command at once."""
    pool = local.Pool(submission)
    before: dict[signal.Signals, Any] = {}

    def stop(number: int, frame: FrameType | None) -> None:
        pool.stop(f"{signal.Signals(number).name}")
        for other, handler in before.items():
            signal.signal(other, handler)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, stop)
    try:
        with Display() as display:
            if pool.several:
                display.say(doings)
            pool.run(Follow(submission, display, pool.endings))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return Ended(dict(pool.endings), pool.stopping)


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


def describe(planned: Plan, args: Arguments) -> str:
    """The plan in words: what would be run, what is there already, and what it will cost."""
    there = planned.out.is_dir()
    planned = activity.overlay(planned, activity.survey(planned.out)) if there else planned
    divided = divided_cells(planned, args)
    grid, recipe, evaluation, execution = (
        planned.grid,
        planned.grid.training,
        planned.grid.evaluation,
        args.execution,
    )
    names = plan.formulations_of(planned)
    width, heads = grid.model.sizes
    cost = estimate.estimate(
        planned.cells, divided, grid, execution.executor, execution.device, execution.pack, args.tflops
    )
    lines = [
        f"{len(planned.cells)} cells: {len(names)} formulations x {len(grid.datasets)} datasets x {grid.seeds} seeds, "
        f"in {planned.out}",
        f"  {status.counts(planned)}",
        f"model: depth {grid.model.depth}, width {width}, heads {heads}, patch {grid.model.patch}, text {grid.text}",
        f"training: {recipe.steps} steps of {recipe.batch}, lr {recipe.lr:g}, {recipe.precision}",
        f"evaluation: {evaluation.samples} images x {len(evaluation.settings)} sampler settings x "
        f"{' and '.join(evaluation.weights)} weights, {evaluation.grid} grid, {evaluation.extractor}",
        workers(divided, args),
        f"cost: {estimate.describe(cost)}",
        "formulations:",
        *(f"  {name}" for name in names),
    ]
    return "\n".join(lines)


def workers(divided: Sequence[Sequence[plan.Planned]], args: Arguments) -> str:
    """How the cells would be handed out."""
    sizes = sorted({len(part) for part in divided}) or [0]
    cells_each = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    told = f"{len(divided)} {'worker' if len(divided) == 1 else 'workers'} of {cells_each} cells"
    if args.execution.executor == "local":
        return f"executor: local, {len(local.slots(args.execution))} slots, {told}"
    limit, most = args.slurm.minutes, args.slurm.parallelism
    return f"executor: slurm, {told}, {limit} minutes each, at most {most} at once"
