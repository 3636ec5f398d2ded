"""``--until decided``: a race. After each seed, formulations that another one beats are out and no longer trained.

It ends when one is left or, with a margin, when all that are left are equivalent. Which formulation is beaten is decided by
``analysis.comparisons.baseline.survivors``, whose error holds at every look. The plan in ``DIR/grid.json`` lists the cells
that were trained, and which formulations are out after how many seeds; the same race continues from there. Without that
record it takes the same course again, as it follows from the results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli.parser import Arguments
from bench.config.experiment import Grid
from bench.config.identity import full, restore
from bench.driver import plan_files, seed_by_seed
from bench.machine.stage_timer import Stages
from bench.planning import plan
from bench.planning.cells import expand
from bench.planning.decision import Decision
from bench.planning.plan import Course, Exit, Plan
from bench.runfolder.manifest import FILES
from bench.runfolder.submission import Submission
from flowbench._core import atomic
from flowbench._core.errors import UserError
from flowbench._core.terminal import fitted, many

if TYPE_CHECKING:
    from analysis.comparisons.baseline import Beaten, Race


def begun(grid: Grid, out: Path, decision: Decision) -> Plan:
    """The race on the seeds whose cells a run folder has, at least one. Raises :class:`UserError` for a single
    formulation."""
    if len(expand(grid)) < 2:
        raise UserError("--until decided needs at least 2 formulations to compare")
    return plan.make(seed_by_seed.begun(grid, out), out, recorded(grid, out, decision))


def recorded(grid: Grid, out: Path, decision: Decision) -> Course:
    """The course of the same race so far, by the run folder; one without exits if it records none."""
    with suppress(atomic.Damaged, KeyError, TypeError, AttributeError):
        kept = atomic.read_object(out / FILES["rank"])
        course = restore(Course, kept["race"])
        if course.decision == decision and unlimited(kept["grid"]) == unlimited(full(grid)):
            return course
    return Course(decision)


def unlimited(grid: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a grid but for its number of seeds."""
    return {name: value for name, value in grid.items() if name != "seeds"}


def exits(before: Sequence[Exit], out: Mapping[str, Beaten], seeds: int) -> tuple[Exit, ...]:
    """Those that are ``out`` after so many seeds, the first first; each that was out ``before`` keeps the number at which it
    left, and one that is no longer out is in again."""
    left = {e.formulation: e.seeds for e in before}
    found = (Exit(name, left.get(name, seeds), beaten.by) for name, beaten in out.items())
    return tuple(sorted(found, key=lambda e: e.seeds))


class UntilDecided:
    """The rule of a race (:class:`bench.driver.seed_by_seed.Rule`)."""

    def __init__(self, args: Arguments, argv: Sequence[str]) -> None:
        self.args, self.argv = args, argv
        self.course: Course | None = None

    def look(self, planned: Plan, seconds: float) -> bool:
        """Whether the race is decided, or cannot be; the formulations that are beaten are out."""
        from analysis.comparisons import race_outcome
        from analysis.ranking import verdict  # imports pandas
        from analysis.runs import run

        assert planned.course
        raced, seeds = race_outcome.of_run(run.read(planned.out)), planned.grid.seeds
        if raced is None:  # no cell has a value, as the report says
            return True
        before = planned.course.exits
        self.course = replace(planned.course, exits=exits(before, raced.race.out, seeds))
        line = f"{many(seeds, 'seed')}: {said(raced.race, before)}"
        if raced.needed:
            more = f" ({verdict.duration(seconds * (raced.needed - seeds))} more)" if seconds else ""
            line += f"; {raced.needed} seeds{more} would decide at the present means and noise"
        print(fitted(line), flush=True)
        return raced.race.settled

    def further(self, planned: Plan) -> Plan:
        """One more seed of those that are left."""
        return plan.one_more_seed(replace(planned, course=self.course))

    def report(
        self, shown: Plan, begun: Plan, stages: Stages | None, submissions: Sequence[Submission]
    ) -> int:
        """Rank all formulations on the seeds that all have, and show the race."""
        from bench.driver import run_summary

        shown = replace(shown, course=self.course or shown.course)
        plan_files.write(shown, self.argv, self.args.program, self.args.plugins)
        return run_summary.report(shown, stages, submissions, begun)


def said(found: Race, before: Sequence[Exit]) -> str:
    """What a look has shown, in a line."""
    known = {e.formulation for e in before}
    new = [
        f"{name} is out, {f'beaten by {beaten.by}' if beaten.by else 'with seeds without a value'}"
        for name, beaten in found.out.items()
        if name not in known
    ]
    return "; ".join([*new, f"left: {', '.join(found.survivors)}"])
