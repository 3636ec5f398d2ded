"""``python -m analysis.solvers RUN --baseline euler:clock``: solvers and time grids at equal numbers of evaluations."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from analysis.comparisons import baseline, comparison
from analysis.comparisons.baseline import Comparison
from analysis.comparisons.paired import Measured, comparable_metrics, measured
from analysis.runs import options, run, schema
from analysis.runs.schema import Results
from analysis.stats.sequential import LEVEL
from analysis.tables import output
from analysis.tables.table import Table, unmarked
from bench.config.sampling_settings import FIELDS, NEEDED, Setting
from bench.metrics.metric import Metric
from flowbench._core.command import FLOAT, entry
from flowbench._core.errors import UserError, nearest
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

DESCRIPTION = """Compare the solvers and time grids of a run with one of them, formulation by formulation, at equal
numbers of evaluations of the network. Each difference has a verdict; for each by itself a false one has a probability of
5 % at most, however often one looks."""
EPILOG = """examples:
  python -m analysis.solvers runs/quick --where cfg=5
  python -m analysis.solvers runs/quick --baseline dpm++2m:karras --metric clip"""
BASELINE = "euler:clock"
GROUP = ("dataset", "weights", "cfg", "formulation")
"""Methods are compared within these."""


@dataclass(frozen=True)
class Level:
    """The ``mean`` of the baseline's ``n`` seeds, geometric for a metric that is compared by ratios; NaN without any."""

    n: int
    mean: float


@dataclass(frozen=True)
class Cell:
    """What was found of a method at a number of ``evaluations``; ``group`` has the values of `GROUP`."""

    group: tuple[str, str, float, str]
    method: str
    evaluations: int
    found: Level | Comparison


def command(argv: Sequence[str] | None) -> int:
    """Run the command; mistakes are exceptions."""
    made = options.parser("solvers", DESCRIPTION, EPILOG)
    made.add_argument("results", type=Path, metavar="RUN", help="a run folder, an archive or a table")
    form = f"what the others are compared with, SOLVER[:GRID] (default {BASELINE})"
    made.add_argument("--baseline", default=BASELINE, metavar="METHOD", help=form)
    made.add_argument("--metric", default="fid", metavar="NAME", help="default fid")
    small = "smallest difference that matters, in percent of metrics of log scale as FID, else in the metric's unit"
    made.add_argument("--margin", type=FLOAT, metavar="X", help=small)
    output.add_format(made)
    options.add_where(made)
    args = made.parse(argv)
    results = run.read(args.results, args.where).phase("rank")
    output.show([table(results, args.baseline, args.metric, args.margin)], args.format)
    return 0


def table(results: Results, against: str, metric: str = "fid", margin: float | None = None) -> Table:
    """A row for each method of each formulation, a column for each number of evaluations.

    Raises `UserError` as `with_methods` and `compared`.
    """
    methods, unknown = with_methods(results)
    cells = compared(methods, against, metric, margin)
    varied = [i for i, name in enumerate(GROUP) if name == "formulation" or methods.frame[name].nunique() > 1]
    numbers = sorted({cell.evaluations for cell in cells})
    rows: dict[tuple[str, ...], dict[int, str]] = {}
    for cell in cells:
        place = (
            *(f"{v:g}" if isinstance(v, float) else v for v in map(cell.group.__getitem__, varied)),
            cell.method,
        )
        rows.setdefault(place, {})[cell.evaluations] = _written(cell.found)
    names = [*("guidance" if GROUP[i] == "cfg" else GROUP[i] for i in varied), "method"]
    shown = [[*place, *(found.get(n, "") for n in numbers)] for place, found in rows.items()]
    return unmarked(
        "solvers",
        _records(cells),
        pd.DataFrame(shown, columns=[*names, *(f"{n} evaluations" for n in numbers)]),
        notes=_notes(results.metrics[metric], cells, against, margin, unknown),
        title=f"Against {against}",
        about={"compared": {"baseline": against, "metric": metric, "margin": margin, "level": LEVEL}},
    )


def with_methods(results: Results) -> tuple[Results, list[str]]:
    """The rows with the columns ``method`` and ``evaluations``, without those whose solver is not there to count them; and
    the names of such solvers. Raises `UserError` if no row is left."""
    settings = schema.controls(results.frame)
    known = [s.known for s in settings]
    unknown = sorted({s.solver for s in settings if not s.known})
    if not any(known):
        raise UserError(f"no solver of the table is there to count evaluations: {', '.join(unknown)}")
    counted = [s for s in settings if s.known]
    frame = results.frame[known].assign(
        method=[s.way for s in counted], evaluations=[s.evaluations for s in counted]
    )
    return replace(results, frame=frame), unknown


def compared(methods: Results, against: str, metric: str, margin: float | None) -> list[Cell]:
    """Every method of every formulation, paired by seed with the method ``against`` at the same number of evaluations, each
    pair by itself at 5 %; without those that ``against`` has no setting for.

    ``methods`` is from `with_methods`. Raises `UserError` for a baseline that the table lacks or that has no rival, for a
    metric that is none, and as `analysis.comparisons.baseline.against`.
    """
    known = sorted(methods.frame["method"].unique(), key=lambda name: (name != against, name))
    if against not in known:
        raise UserError(f"the baseline {against!r} is not in the table; {nearest(against, known)}")
    if metric not in methods.metrics:
        raise UserError(f"there is no metric {metric!r}; {nearest(metric, comparable_metrics(methods))}")
    if methods.metrics[metric].level == "training":
        raise UserError(f"{metric} is a metric of trainings, which no solver changes: choose fid or clip")
    schema.comparable(methods)
    cells = []
    for key, rows in methods.frame.groupby([*GROUP, "evaluations"], observed=True):
        there = [name for name in known if name in set(rows["method"])]
        if against in there and len(there) > 1:
            whole = cast("tuple[str, str, float, str, int]", key)
            place, number = whole[:4], int(whole[4])
            pairs = as_formulations(replace(methods, frame=rows))
            cells.append(Cell(place, against, number, level(measured(pairs, metric), against)))
            for name in (n for n in there if n != against):
                pair = pairs.formulations(name, against)
                (row,) = baseline.against(pair, against, (), metric, margin).rows
                cells.append(Cell(place, name, number, row))
    if not cells:
        raise UserError(
            f"no other method has as many evaluations as {against!r}: there is nothing to compare"
        )
    return cells


def as_formulations(methods: Results) -> Results:
    """The rows of one formulation and number of evaluations as those of one setting, in which the methods are what is
    compared; of two settings of a method that with more steps."""
    rows = methods.frame.sort_values("steps").drop_duplicates(["method", "seed"], keep="last")
    usual = {name: getattr(Setting, name) for name in FIELDS if name not in NEEDED}
    return replace(methods, frame=rows.assign(formulation=rows["method"], steps=rows["evaluations"], **usual))


def level(found: Measured, name: str) -> Level:
    """The mean of a method by itself."""
    row = found.names.index(name)
    values = found.values[row][found.states[row] == "done"]
    mean = float(values.mean()) if len(values) else math.nan
    return Level(len(values), math.exp(mean) if found.log else mean)


def _written(found: Level | Comparison) -> str:
    if isinstance(found, Level):
        return "" if math.isnan(found.mean) else f"{found.mean:.3g}"
    if found.apart == 0:
        return "same"
    return f"{comparison.difference(found)} {comparison.verdict(found)}".strip()


def _records(cells: Sequence[Cell]) -> pd.DataFrame:
    """A row for each cell; the baseline's have a mean instead of a difference."""
    rows = []
    for cell in cells:
        row = dict(zip(GROUP, cell.group, strict=True)) | {
            "method": cell.method,
            "evaluations": cell.evaluations,
        }
        found = {k: v for k, v in vars(cell.found).items() if k not in ("formulation", "metric", "lost")}
        rows.append(row | found)
    return pd.DataFrame(rows).astype({"seeds_needed": "Int64"})


def _notes(
    metric: Metric, cells: Sequence[Cell], against: str, margin: float | None, unknown: Sequence[str]
) -> list[str]:
    seeds = sorted({cell.found.n for cell in cells})
    span = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    notes = [
        f"{against}: its own {metric.label}, the mean over {span} seeds, geometric for metrics of log scale",
        "others: the difference from it at as many evaluations of the network, paired by seed, with an interval that holds "
        f"however often one looks, 95 % for each by itself, and the verdict; {metric.direction}",
        "same: equal in every seed",
    ]
    if any(cell.group[GROUP.index("cfg")] != 1 for cell in cells):
        notes.append("an evaluation with guidance takes two passes through the network")
    if margin is not None:
        sign = " %" if metric.scale == "log" else ""
        notes.append(f"equivalent: the whole interval is within ±{margin:g}{sign}")
    if unknown:
        notes.append(f"not counted: {', '.join(unknown)}, whose plugin is not there")
    return notes


main = entry(command)

if __name__ == "__main__":
    sys.exit(main())
