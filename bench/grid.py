"""``python -m bench.grid``: plan, train, measure, rank. See ``--help``."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import formulations
from bench import data, encoders
from bench.cli import parser as cli
from bench.config.experiment import Grid
from bench.driver import confirm, drive, race, seed_by_seed
from bench.driver.describe import describe
from bench.machine import writable_folders
from bench.metrics import run_metrics
from bench.planning import decision, image_tokens, plan
from bench.planning.cells import expand
from bench.planning.plan import Plan
from bench.runfolder import trust
from bench.runfolder.manifest import FILES
from bench.status import status
from flowbench import STARTED
from flowbench._core.command import outcome
from flowbench._core.errors import UserError, nearest, refuse

log = logging.getLogger("bench.grid")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 1 if a cell failed, 2 for a user's mistake, 130 if interrupted."""
    interrupted = "interrupted: the same command again runs only unfinished cells, from the last checkpoints"
    return outcome(lambda: command(argv), interrupted)


def command(argv: Sequence[str] | None) -> int:
    """What :func:`main` does, with mistakes as exceptions."""
    return run(cli.parse(argv), sys.argv[1:] if argv is None else argv, STARTED)


def run(args: cli.Arguments, given: Sequence[str], started: float) -> int:
    """Run the command line ``given``, or look at the run; returns the exit code.

    ``started`` is the ``time.perf_counter()`` at which the command began.
    """
    grid = with_metrics(args.grid)
    against = args.against and replace(args.against, baseline=image_tokens.named(args.against.baseline, grid))
    args = replace(args, grid=grid, against=against)
    check_folders(args)
    planned = planned_of(args)
    if args.confirm is None:
        return carry_out(planned, args, given, started)
    return confirmed(planned, args, given, args.confirm, started)


def planned_of(args: cli.Arguments) -> Plan:
    """The plan that was asked for: with ``--minutes`` or a race of the seeds that are begun, to be confirmed of the finished
    ones. Raises :class:`UserError` for a baseline that is none of its formulations, and for comparisons of several networks,
    depths or budgets."""
    for what, asked in (
        ("--until decided", args.race),
        ("--baseline", args.against and args.against.decision),
    ):
        if asked:
            args.grid.check_not_swept(what)
            decision.check(asked, args.grid)
    if args.against:
        check_baseline(args.against.baseline, expand(args.grid))
    if args.race:
        planned = race.begun(args.grid, args.out, args.race)
    elif args.minutes is None:
        planned = plan.make(args.grid, args.out, there=args.look != "dry-run")
    else:
        begun = plan.make(seed_by_seed.begun(args.grid, args.out), args.out)
        planned = begun if args.confirm is None else seed_by_seed.trimmed(begun)
    return replace(planned, against=args.against)


def check_baseline(name: str, names: Sequence[str]) -> None:
    """Raises :class:`UserError` unless a baseline is one of several formulations."""
    if formulations.get(name).name not in names:
        raise UserError(f"--baseline {name!r} is none of the formulations; {nearest(name, names)}")
    if len(names) < 2:
        raise UserError("--baseline needs at least 2 formulations to compare")


def carry_out(planned: Plan, args: cli.Arguments, argv: Sequence[str], started: float) -> int:
    """Run a plan, or look at it. Returns the exit code."""
    if args.look == "dry-run":
        text, stops = describe(planned, args)
        print(text)
        refuse(stops)
        return 0
    if args.look == "status":
        return status.show(planned)
    if args.look == "watch":
        return status.watch(planned)
    if args.look == "cancel":
        return drive.cancel(args.out)
    if args.race:
        rule = race.UntilDecided(args, argv)
        return seed_by_seed.run(seed_by_seed.trimmed(planned), args, argv, started, rule)
    if args.minutes is not None and not planned.chosen:
        return seed_by_seed.run(planned, args, argv, started, seed_by_seed.ByTime())
    return drive.run(planned, args, argv, started)


def confirmed(planned: Plan, args: cli.Arguments, argv: Sequence[str], seeds: int, started: float) -> int:
    """Run a plan, as far as that is still to do, and then its confirmation; or look at the one of the two that is next.

    Where the plan is submitted and not waited for, the same command later submits the confirmation.
    """
    confirm.check(args.grid, seeds)
    code = 0
    if confirm.before(planned) or planned.grid.seeds < 2:  # a single seed so far, with --minutes
        code = carry_out(planned_of(replace(args, confirm=None)), args, argv, started)
        planned = planned_of(args)
        if left := confirm.before(planned):
            log.info("the confirmation comes after the grid: %s", left)
            return code
    return max(code, carry_out(confirm.plan(planned, seeds), args, argv, time.perf_counter()))


def with_metrics(grid: Grid) -> Grid:
    """A grid with its datasets and encoders by their canonical names and shifts by their numbers, that is measured also by
    what plugins register."""
    datasets = tuple(map(data.canonical, grid.datasets))
    earlier = tuple(replace(s, dataset=s.dataset and data.canonical(s.dataset)) for s in grid.earlier)
    measured = replace(grid.evaluation, extractor=encoders.canonical(grid.evaluation.extractor))
    text, evaluation = encoders.canonical(grid.text), run_metrics.with_added(measured)
    return image_tokens.resolved(
        replace(grid, datasets=datasets, earlier=earlier, text=text, evaluation=evaluation)
    )


def check_folders(args: cli.Arguments) -> None:
    """Check the run folder, and who can write into it, and find others that can be written. Raises :class:`UserError`."""
    check_folder(args.out)
    if args.look not in ("status", "watch") and not args.execution.trusted:
        trust.check(args.out)
    if args.look in (None, "dry-run"):
        writable_folders.settle(log.info)


def check_folder(out: Path) -> None:
    """Refuse a folder that holds something else than a run."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file: name a folder")
    there = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if "cells.parquet" in there:
        raise UserError(f"--out {out} is the archive of a run, without its cells: name a run folder")
    if there and not there & {FILES["rank"], ".lock"}:  # .lock is the first that a beginning command makes
        raise UserError(
            f"--out {out} is not empty and not a run folder: name a new one, for example {out / 'run'}"
        )


if __name__ == "__main__":
    sys.exit(main())
