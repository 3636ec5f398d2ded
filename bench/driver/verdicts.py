"""The rule of ``python -m bench.compare``: another seed until every comparison with the baseline has a verdict."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from bench.cli.parser import Arguments
from bench.machine.stage_timer import Stages
from bench.planning import plan
from bench.planning.plan import Plan
from bench.runfolder.submission import Submission
from flowbench._core import atomic
from flowbench._core.errors import UserError
from flowbench._core.terminal import fitted, many, short

if TYPE_CHECKING:
    from analysis.comparisons.baseline import Comparisons
    from analysis.runs.run import Run
    from bench.driver.run_summary import Ranked

FILE = "comparison.json"
"""In the run folder: the numbers and the verdict of the last look, and the command."""


class UntilVerdict:
    """See :class:`bench.driver.seed_by_seed.Rule`. ``found`` are the numbers of the last look."""

    def __init__(self, args: Arguments, argv: Sequence[str]) -> None:
        self.args, self.argv = args, tuple(argv)
        self.found: Comparisons | None = None
        self.seconds = 0.0

    def look(self, planned: Plan, seconds: float) -> bool:
        """Print how every formulation compares with the baseline; whether all comparisons are settled."""
        from analysis.comparisons import comparison, decided
        from analysis.tables import output  # imports pandas

        self.seconds = seconds
        try:
            _, found = self.compared(planned)
        except UserError:  # no cell has a value, as the report says
            return True
        if not (enough := decided.enough(found)):  # else the report shows it
            table = comparison.table(found)
            title = f"{table.title} after {many(planned.grid.seeds, 'seed')}"
            print()
            output.show([replace(table, notes=(), title=title)])
            if line := decided.progress(found, seconds):
                print(fitted(line), flush=True)
        return enough

    def further(self, planned: Plan) -> Plan:
        """The same formulations on one more seed."""
        return plan.one_more_seed(planned)

    def report(
        self, shown: Plan, begun: Plan, stages: Stages | None, submissions: Sequence[Submission]
    ) -> int:
        """The table with its notes, the verdict, and what was written."""
        from analysis.comparisons import comparison
        from analysis.tables import output
        from bench.driver import run_summary

        code, ranked = run_summary.tables(shown, begun, self.ranked)
        spent = run_summary.write_timings(shown.out, stages, submissions)
        if not ranked:
            (shown.out / FILE).unlink(missing_ok=True)  # of an earlier look
            return code
        _, found = self.compared(shown)
        print()
        output.show([comparison.table(found)])
        print(fitted(f"\n{self.verdict(found, ranked.run)}"))
        there = [name for name in (FILE, *run_summary.TABLES) if (shown.out / name).exists()]
        print(
            fitted(
                f"\n{many(len(shown.cells), 'cell')}{spent}. In {shown.out}:\n  {'  '.join(there)}  cells/"
            )
        )
        print(f"one page with everything: python -m analysis.report {short(shown.out)}", flush=True)
        return code

    def ranked(self, shown: Plan) -> Ranked | None:
        """The ranking is written, and not printed."""
        from analysis.runs import run
        from bench.driver import run_summary

        try:
            return run_summary.rank(run.read(shown.out))
        except UserError as error:
            print(f"no table: {error}", file=sys.stderr)
            return None

    def compared(self, planned: Plan) -> tuple[Run, Comparisons]:
        """The numbers of a plan's finished seeds, which are also written."""
        from analysis.comparisons import baseline
        from analysis.runs import run

        assert planned.against
        what, read = planned.against.decision, run.read(planned.out)
        self.found = baseline.against(read, planned.against.baseline, None, what.metric, what.margin)
        atomic.write_json(planned.out / FILE, self.written(self.found, read, planned.grid.seeds))
        return read, self.found

    def written(self, found: Comparisons, read: Run, seeds: int) -> dict[str, Any]:
        """The comparison as JSON."""
        from analysis.tables.table import jsonable

        about = {
            "program": self.args.program,
            "command": list(self.argv),
            "seeds": seeds,
            "settled": found.settled,
            "verdict": self.verdict(found, read),
        }
        numbers = asdict(found)
        del numbers["metrics"]
        return about | {name: jsonable(value) for name, value in numbers.items()}

    def verdict(self, found: Comparisons, read: Run) -> str:
        """One sentence."""
        from analysis.comparisons import decided
        from analysis.runs import timings

        each = self.seconds or timings.seconds_per_seed(read)
        return decided.terminal(found, decided.Command(self.args.program, self.argv, each))
