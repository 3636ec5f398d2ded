"""``python -m analysis.pairs RUN ... --baseline NAME``: one comparison over several runs, a row for each rival and run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.comparisons import baseline, comparison
from analysis.comparisons.baseline import Comparisons
from analysis.comparisons.paired import comparable_metrics
from analysis.runs import options, run, spellings
from analysis.tables import output
from analysis.tables.table import Table, unmarked
from analysis.tables.wording import names
from flowbench._core.command import FLOAT, entry
from flowbench._core.errors import UserError, nearest
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

DESCRIPTION = """Compare formulations with a baseline in several runs, for example of several lengths or data sets: a row
for each rival and run. A row has a verdict by the first metric; for each row by itself a false one has a probability of
5 % at most, however often one looks."""
EPILOG = """examples:
  python -m analysis.pairs results/questions/steps-* --baseline rf --formulations 'rf/lognorm(0,1)' --margin 3"""
METRICS = ("fid", "clip", "val_loss")


def command(argv: Sequence[str] | None) -> int:
    """Run the command; mistakes are exceptions."""
    made = options.parser("pairs", DESCRIPTION, EPILOG)
    made.add_argument("results", nargs="+", type=Path, metavar="RUN", help="run folders, archives or tables")
    made.add_argument("--baseline", required=True, metavar="NAME", help="what the others are compared with")
    made.add_argument("--formulations", nargs="+", metavar="NAME", help="only these rivals (default: all)")
    shown = f"default {' '.join(METRICS)}; the first decides"
    made.add_argument("--metrics", nargs="+", default=list(METRICS), metavar="NAME", help=shown)
    small = "smallest difference that matters, in percent of FID and val_loss"
    made.add_argument("--margin", type=FLOAT, metavar="X", help=small)
    output.add_format(made)
    options.add_where(made)
    args = made.parse(argv)
    found = [
        (title, one)
        for path, title in run.titles(args.results).items()
        for one in compared(path, args.where, args.baseline, args.formulations, args.metrics, args.margin)
    ]
    output.show([table(found)], args.format)
    return 0


def compared(
    path: Path,
    where: Sequence[str],
    against: str,
    only: Sequence[str] | None,
    metrics: Sequence[str],
    margin: float | None,
) -> list[Comparisons]:
    """A run's comparisons, each rival by itself at 5 %.

    A metric without values in the run is left out, but for the first, which decides. Raises `UserError` as
    `analysis.comparisons.baseline.against`, for a metric that is none, and for a rival that the run lacks.
    """
    results = run.read(path, where).phase("rank")
    for metric in metrics:
        if metric not in results.metrics:
            raise UserError(f"there is no metric {metric!r}; {nearest(metric, comparable_metrics(results))}")
    there = [m for m in metrics[1:] if m in results.frame and results.frame[m].notna().any()]
    every = baseline.against(results, against, (), metrics[0], margin)
    chosen = list(every.rivals) if only is None else [*only]
    named = [spellings.known(rival, every.rivals) for rival in chosen]
    for rival, name in zip(chosen, named, strict=True):
        if name is None:
            raise UserError(f"{str(path)!r} has no {rival!r}: choose from {', '.join(every.rivals)}")
    pairs = (results.formulations(name, every.baseline) for name in named if name)
    return [baseline.against(pair, every.baseline, there, metrics[0], margin) for pair in pairs]


def table(found: Sequence[tuple[str, Comparisons]]) -> Table:
    """A row for each run and rival, with a column of differences for each metric."""
    frame = pd.DataFrame([{"run": name, **vars(row)} for name, one in found for row in one.rows])
    cells = pd.DataFrame(
        [
            {"run": name, "formulation": one.rows[0].formulation}
            | {one.metrics[row.metric].label: comparison.difference(row) for row in one.rows}
            | {"verdict": comparison.verdict(one.rows[0]), "seeds": str(one.rows[0].n)}
            for name, one in found
        ]
    ).fillna("")
    like = found[0][1]
    lower = [m.label for m in like.metrics.values() if not m.higher_is_better]
    notes = [
        f"differences from {like.baseline}, paired by seed, with intervals that hold however often one looks, 95 % for "
        f"each by itself; lower is better: {names(lower)}; verdict by {like.metrics[like.primary].label}"
        + (f", equivalent within {comparison.margin(like)}" if like.margin is not None else "")
    ]
    return unmarked("pairs", frame.drop(columns="lost"), cells, notes=notes, title=f"Against {like.baseline}")


main = entry(command)

if __name__ == "__main__":
    sys.exit(main())
