"""One more seed for all formulations, again and again, until a rule ends it, time is over, or all seeds are done. No torch.

:class:`ByTime` is the rule of ``--minutes M`` alone: how many seeds there will be depends on the time, never on what they
show, so that ordinary intervals stay valid. Other rules look at the results after each seed, and need statistics that hold
at every look.

A seed is begun while it fits into what is left of the time, by the slowest seed so far; the first one always is, and runs to
its end, so that there is a result. A seed that takes longer than expected may take :data:`GRACE` more; then its cells save a
checkpoint, from which the next command continues, and the report is of the finished seeds.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Protocol

from bench.cli.parser import Arguments
from bench.config.experiment import Cell, Grid
from bench.driver.hand_out import alone, check_beforehand, hand_out
from bench.driver.run_local import run_here
from bench.driver.wait import follow_others, untracked
from bench.machine.stage_timer import Stages
from bench.planning import plan
from bench.planning.cells import cells_of
from bench.planning.plan import BUSY, ENDED, Plan
from bench.runfolder.submission import Submission
from flowbench._core.terminal import many

log = logging.getLogger(__name__)

GRACE = 0.25
"""A begun seed may take so much longer, as a fraction of the minutes."""


class Rule(Protocol):
    """Decides after each seed whether there is another one, and reports."""

    def look(self, planned: Plan, seconds: float) -> bool:
        """Whether no further seed is needed after those of ``planned``, whose cells have all ended. ``seconds`` is what the
        slowest seed of this command took, 0 if none was trained yet."""
        ...

    def further(self, planned: Plan) -> Plan:
        """The plan with one more seed."""
        ...

    def report(
        self, shown: Plan, begun: Plan, stages: Stages | None, submissions: Sequence[Submission]
    ) -> int:
        """Report the seeds ``shown``, which are finished; ``begun`` may have one more. Returns the exit code."""
        ...


class ByTime:
    """Another seed, whatever the results."""

    def look(self, planned: Plan, seconds: float) -> bool:
        """Looks at no result; a cell that failed ends it, as the cause may be that of others, too."""
        return any(p.state == "failed" for p in planned.cells)

    def further(self, planned: Plan) -> Plan:
        """The same formulations on one more seed."""
        return plan.one_more_seed(planned)

    def report(
        self, shown: Plan, begun: Plan, stages: Stages | None, submissions: Sequence[Submission]
    ) -> int:
        """Rank the finished seeds."""
        from bench.driver import run_summary  # imports pandas

        return run_summary.report(shown, stages, submissions, begun)


def begun(grid: Grid, out: Path) -> Grid:
    """The grid with the seeds that have cells in a run folder, at least one: those that the next command continues."""
    folder = out / "cells"
    there = set(os.listdir(folder)) if folder.is_dir() else set()
    further = takewhile(lambda s: any(c.id in there for c in cells_of_seed(grid, s)), grid.every_seed[1:])
    return replace(grid, seeds=1 + sum(1 for _ in further))


def cells_of_seed(grid: Grid, seed: int) -> list[Cell]:
    """The cells of one seed."""
    return cells_of(replace(grid, seeds=1, first_seed=seed))


def finished(planned: Plan) -> int:
    """How many leading seeds have only cells that are done, have failed or diverged."""
    left = {p.cell.seed for p in planned.cells if p.state not in ENDED}
    return sum(1 for _ in takewhile(lambda seed: seed not in left, planned.grid.every_seed))


def trimmed(planned: Plan) -> Plan:
    """The plan with its finished seeds only, at least one."""
    grid = replace(planned.grid, seeds=max(1, finished(planned)))
    parents, cells = (
        tuple(p for p in part if p.cell.seed in grid.every_seed) for part in (planned.parents, planned.cells)
    )
    return replace(planned, grid=grid, cells=cells, parents=parents)


def run(planned: Plan, args: Arguments, argv: Sequence[str], started: float, rule: Rule) -> int:
    """Run the seeds of a plan, then further ones as the ``rule`` has it, until ``args.minutes`` are over (None: no limit) or
    there are ``args.grid.seeds``; report, and return the exit code.

    ``started`` is the ``time.perf_counter()`` at which the command began.
    """
    limit = float("inf") if args.minutes is None else 60 * args.minutes
    stages, slowest = Stages(started), 0.0
    submissions: list[Submission] = []
    asked = args

    def until(planned: Plan) -> float | None:
        return started + (1 + GRACE) * limit if finished(planned) else None

    check_beforehand(planned, args)
    args.launcher.reach()
    while True:
        before, new = time.perf_counter(), not planned.out.exists()
        seeds = planned.grid.seeds
        last = planned.grid.every_seed[-1]
        whole = all(p.state == "missing" for p in planned.cells if p.cell.seed == last)
        planned, submission = hand_out(planned, args, argv, submissions[0] if submissions else None)
        if submission:
            if not submissions:
                stages.started_up()
            planned, submission = run_here(planned, submission, new, asked, argv, until)
            submissions.append(submission)
            slowest = max(slowest, time.perf_counter() - before) if whole else slowest
        elif any(p.state in BUSY for p in planned.cells):
            return follow_others(planned, args, argv)
        if any(p.state not in ENDED for p in planned.cells):
            break
        with alone(planned, args, argv):
            decided = rule.look(planned, slowest)
        left = started + limit - time.perf_counter()
        if decided or seeds == args.grid.seeds or left < max(slowest, 1.0):
            break
        left_text = f", {left:.0f} s left" if left < float("inf") else ""
        log.info("%s finished%s: one more", many(seeds, "seed"), left_text)
        args = replace(args, retry=None)  # what diverged again stays so
        planned = rule.further(planned)
    if not submissions:
        untracked(args)
    shown = trimmed(planned)
    with alone(shown, args, argv):
        return rule.report(shown, planned, stages if submissions else None, submissions)
