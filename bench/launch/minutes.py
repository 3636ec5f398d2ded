"""``--minutes M``: seed after seed for all formulations until the time is over. No torch.

How many seeds there will be depends on the time alone, never on what they show: stopping at a pleasing result would make
every interval too short. A seed is begun while it fits into what is left, by the slowest seed so far; the first one always
is, and runs to its end, so that there is a ranking. A seed that takes longer than expected may take :data:`GRACE` more; then
its cells save a checkpoint, from which the next command with ``--minutes`` continues, and the ranking is of the finished
seeds.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

from bench import manifest, plan
from bench.cli import Arguments
from bench.config import Cell, Grid
from bench.launch.hand_out import check_plugins, hand_out
from bench.launch.here import run_here
from bench.launch.submission import Submission
from bench.launch.wait import follow_others
from bench.plan import BUSY, ENDED, Plan
from bench.stages import Stages
from bench.wording import many

GRACE = 0.25
"""A begun seed may take so much longer, as a share of the minutes."""


def begun(grid: Grid, out: Path) -> Grid:
    """The grid with the seeds of which a run folder has cells, at least one: those that the next command continues."""
    folder = out / "cells"
    there = set(os.listdir(folder)) if folder.is_dir() else set()
    further = takewhile(lambda s: any(c.id in there for c in cells_of_seed(grid, s)), grid.every_seed[1:])
    return replace(grid, seeds=1 + sum(1 for _ in further))


def cells_of_seed(grid: Grid, seed: int) -> list[Cell]:
    """The cells of one seed."""
    return plan.cells_of(replace(grid, seeds=1, first_seed=seed))


def finished(planned: Plan) -> int:
    """How many leading seeds have only cells that are done, have failed or diverged."""
    left = {p.cell.seed for p in planned.cells if p.state not in ENDED}
    return sum(1 for _ in takewhile(lambda seed: seed not in left, planned.grid.every_seed))


def trimmed(planned: Plan) -> Plan:
    """The plan with its finished seeds only, at least one."""
    return plan.make(replace(planned.grid, seeds=max(1, finished(planned))), planned.out)


def run(planned: Plan, args: Arguments, argv: Sequence[str], started: float) -> int:
    """Run the begun seeds of a plan, then further ones until ``args.minutes`` are over; report, and return the exit code.

    ``started`` is the ``time.perf_counter()`` at which the command began.
    """
    assert args.minutes is not None
    limit, stages, slowest = 60 * args.minutes, Stages(started), 0.0
    submissions: list[Submission] = []
    asked = args

    def until(planned: Plan) -> float | None:
        return started + (1 + GRACE) * limit if finished(planned) else None

    check_plugins(planned)
    while True:
        before, new = time.perf_counter(), not planned.out.exists()
        seeds = planned.grid.seeds
        last = planned.grid.every_seed[-1]
        whole = all(p.state == "missing" for p in planned.cells if p.cell.seed == last)
        planned, submission = hand_out(planned, args, argv)
        if submission:
            if not submissions:
                stages.started_up()
            planned, submission = run_here(planned, submission, new, asked, argv, until)
            submissions.append(submission)
            slowest = max(slowest, time.perf_counter() - before) if whole else slowest
        elif any(p.state in BUSY for p in planned.cells):
            return follow_others(planned, args, argv)
        left = started + limit - time.perf_counter()
        bad = any(p.state not in ("done", "diverged") for p in planned.cells)
        if bad or seeds == args.grid.seeds or left < max(slowest, 1.0):
            break
        print(f"{many(seeds, 'seed')} finished, {left:.0f} s left: one more", file=sys.stderr)
        args = replace(args, retry=None)  # what diverged again stays so
        planned = plan.make(replace(planned.grid, seeds=seeds + 1), planned.out)
    return rank(planned, argv, stages, submissions)


def rank(planned: Plan, argv: Sequence[str], stages: Stages, submissions: Sequence[Submission]) -> int:
    """Report the finished seeds, and name the one that was begun; returns the exit code."""
    from bench import report  # imports pandas

    shown = trimmed(planned)
    if len(shown.cells) < len(planned.cells):
        manifest.write(shown, argv)
    return report.report(shown, stages if submissions else None, submissions, planned)
