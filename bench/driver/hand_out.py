"""What is still to be run in a folder, and how it is handed to its launcher; one command at a time. No torch."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench import data, solvers
from bench.cli.parser import Arguments
from bench.driver import checks, confirm, plan_files
from bench.launch import activities, launchers, snapshot
from bench.launch.activities import Activity
from bench.launch.launchers import Submitted
from bench.metrics.metric import registry
from bench.planning import config_warnings, divided_batch, divided_parameters, plan, shares
from bench.planning.cells import datasets_of, plugins_of
from bench.planning.labels import place
from bench.planning.plan import Plan
from bench.runfolder import cell_folder, store
from bench.runfolder import submission as submissions
from bench.runfolder.submission import MODES, Submission
from bench.worker import real_scores
from flowbench._core.errors import UserError
from flowbench._core.plugin import text_behind
from flowbench._core.terminal import many

log = logging.getLogger(__name__)


def hand_out(
    planned: Plan, args: Arguments, argv: Sequence[str], earlier: Submission | None = None
) -> tuple[Plan, Submission | None]:
    """Alone on the folder: submit what no worker has; the submission is None if there is nothing.

    It runs the copy of code and plugins that an ``earlier`` submission of the command runs: so a command trains by one code,
    however long it takes. What is refused leaves no new folder behind.
    """
    new = not planned.out.exists()
    store.prepare(planned.out, MODES[args.readable_by or "me"])
    if args.readable_by and (mode := planned.out.stat().st_mode & 0o777) != MODES[args.readable_by]:
        raise UserError(
            f"--readable-by {args.readable_by}: {planned.out} is there already, with mode {mode:o}: "
            f"change it with chmod -R g+rX or a+rX, or name another --out"
        )
    with store.lock(planned.out):
        surveyed = recovered(planned.out)
        if not any(activity.active for activity in surveyed):
            cell_folder.sweep(planned.out)
        planned = prepare(activities.overlay(looked(planned), surveyed), args)
        plan_files.write(planned, argv, args.program, args.plugins)
        if not planned.chosen and confirm.discard_other(planned):
            log.info("the confirmation of another configuration is no longer shown")
        try:
            return planned, submit(planned, args, argv, earlier)
        except UserError:
            if new:
                remove_unused(planned.out)
            raise


@contextmanager
def alone(planned: Plan, args: Arguments, argv: Sequence[str]) -> Iterator[None]:
    """Within the block no other command begins in the folder, and its plan is this one, which others may have replaced while
    cells trained: results are read by the plan."""
    with store.lock(planned.out):
        plan_files.write(planned, argv, args.program, args.plugins)
        yield


def check_beforehand(planned: Plan, args: Arguments) -> None:
    """Conformance of what plugins add to the plan, and what its launcher would stop, before anything is written. Raises
    :class:`UserError`."""
    divided_batch.check(planned.grid, args.execution)
    cells = [p.cell for p in (*planned.parents, *planned.cells)]
    divided_parameters.check(cells, planned.grid, args.execution)
    checks.check_probes(planned.grid, args.execution)
    args.launcher.check(planned, args.execution)
    for metric in planned.grid.evaluation.metrics:
        registry.check(metric.partition("@")[0])
    for dataset in datasets_of(planned.grid):
        if text_behind(dataset.partition(":")[0], ("dataset",)):
            data.registry.check(dataset)
    for name in solvers.texts(s.solver for s in planned.grid.evaluation.settings):
        solvers.check(name)
    learned = [p for p in planned.cells if text_behind(p.cell.formulation)]
    trained = [p for p in (*planned.parents, *planned.cells) if plugins_of(p.cell.training)]
    if learned or trained:
        from bench.worker import provenance  # imports torch

        provenance.check_formulations(planned.grid, learned)
        provenance.check_recipes(trained)


def recovered(out: Path) -> list[Activity]:
    """What is going on in a folder; submissions whose command died while it submitted are put in order first."""
    for submission in submissions.all_of(out):
        if not submission.closed:
            launchers.of(submission).recover(submission)
    until = time.monotonic() + 2 * activities.FADING_SECONDS
    surveyed = activities.survey(out)
    while any(activity.fading for activity in surveyed) and time.monotonic() < until:
        time.sleep(0.5)  # it is about to save and end
        surveyed = activities.survey(out)
    activities.close(surveyed)
    return surveyed


def prepare(planned: Plan, args: Arguments) -> Plan:
    """Say what was found damaged, and let failed cells run again if asked to."""
    for p in (*planned.parents, *planned.cells):
        if p.damage:
            which = f"{p.cell.formulation} on {place(p.cell, planned.grid)}"
            log.info("%s is run again: %s", which, p.damage)
    from bench.driver import run_summary  # imports pandas

    damaged = run_summary.set_aside(planned)
    for p, file in damaged:
        which = f"{p.cell.formulation} on {place(p.cell, planned.grid)}"
        log.info("%s is measured again: %s cannot be read", which, file)
    look = plan.StateReader(planned.out, planned.grid)
    outdated = [p for p in planned.cells if p.state == "trained" and look.outdated(p.folder)]
    for p in outdated:
        (p.folder / look.measured / "result.json").unlink()
    if outdated:
        what = [f"plugins of {', '.join(look.solvers)} have changed"] if look.solvers else []
        what += [f"{planned.grid.evaluation.reference} has changed"] if look.reference else []
        log.info("%s measured again: %s", many(len(outdated), "cell"), " or ".join(what))
    if args.retry is None and not damaged:
        return planned
    ended = ("failed",) if args.retry == "failed" else ("failed", "diverged")
    every = [*planned.parents, *planned.cells]
    again = [p for p in every if p.state in ended] if args.retry else []
    if args.retry == "all":
        again += [
            p
            for p in every
            if p.state not in (*ended, *plan.BUSY) and (p.folder / cell_folder.CHANGED).exists()
        ]
    for p in again:
        if (p.folder / cell_folder.CHANGED).exists():
            real_scores.file(planned.out, planned.grid, p.cell.dataset).unlink(missing_ok=True)
        cell_folder.retry(p.folder, args.retry or "failed")
    changed = {p.folder for p in [*again, *(p for p, _ in damaged)]}
    return planned.mapped(lambda p: look(p.cell) if p.folder in changed else p)


def submit(
    planned: Plan, args: Arguments, argv: Sequence[str], earlier: Submission | None = None
) -> Submission | None:
    """Hand what is to be run to its launcher; None if there is nothing."""
    divided = divided_cells(planned, args)
    if not divided:
        return None
    memory = checks.check(divided, planned.grid, planned.out, args.execution, args.launcher)
    if memory and memory.doubtful:
        log.warning("it may not fit: %s", memory)
    for sentence in config_warnings.warnings(planned.grid):
        log.warning("%s", sentence)
    if earlier:
        snapshot.verify(earlier)
        code, plugins, commit = earlier.code, earlier.plugins, earlier.commit
    else:
        code, plugins = snapshot.take(planned.out, args.plugins, args.execution.trusted)
        commit = snapshot.commit()
    found = shares.as_shares(divided, planned, args.canary)
    if args.canary and not any(share.canary for share in found):
        log.info("--canary: every formulation has one cell only, so all of them begin at once")
    handed = args.execution, found, code, plugins, argv, commit
    submission = submissions.new(planned.out, planned.grid, *handed)
    submissions.write(submission)
    log.debug(
        "submission %s: workers with %s cells, %s",
        submission.id,
        [len(s.cells) for s in found],
        args.execution,
    )
    log.debug("code %s%s in %s", code, f" of commit {commit}" if commit else "", submission.code_folder)
    try:
        taken = args.launcher.submit(submission)
    except UserError:
        if not args.launcher.doubtful(submission):  # else the next command sees to it
            shutil.rmtree(submission.folder)
        raise
    if taken.jobs:
        tell_submitted(submission, taken, args)
    return submission


def divided_cells(planned: Plan, args: Arguments) -> list[list[plan.Planned]]:
    """The cells of each worker. Yardsticks alone are work for one, too."""
    execution = args.execution
    divided = shares.divide(planned, args.launcher.slots(execution), execution.pack, args.canary)
    busy = any(p.state in plan.BUSY for p in planned.cells)
    if not divided and not busy and real_scores.lacking(planned.out, planned.grid):
        return [[]]
    return divided


def tell_submitted(submission: Submission, taken: Submitted, args: Arguments) -> None:
    """Print which jobs there are, and how to continue."""
    jobs = ", ".join(f"{job.job} ({many(len(job.shares), 'worker')})" for job in taken.jobs)
    count = sum(len(submission.shares[i].cells) for job in taken.jobs for i in job.shares)
    print(f"submitted {many(count, 'cell')} as job {jobs}")
    if taken.refused:
        print(
            f"{taken.workers} of {len(submission.shares)} workers submitted; {args.launcher.title} takes no more "
            f"({taken.refused}): the same command later submits the rest"
        )
    if not args.wait:
        print(
            "the same command with --status shows how far they are; again without it, when all is done, it ranks them"
        )


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


def looked(planned: Plan, again: bool = True) -> Plan:
    """The plan with its cells as they are now; ``again`` looks also at those that were finished."""
    look = plan.StateReader(planned.out, planned.grid)
    return planned.mapped(lambda p: look(p.cell) if again or p.state not in plan.ENDED else p)
