"""A comparison with one baseline as a table: a row for each rival, of several runs, or of several networks of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.comparisons import baseline, comparison
from analysis.comparisons.baseline import Comparison, Comparisons
from analysis.comparisons.paired import comparable_metrics
from analysis.runs import networks, spellings
from analysis.runs.recipe_fields import NETWORK, network
from analysis.runs.run import Run
from analysis.tables.table import Table, unmarked
from analysis.tables.wording import names
from flowbench._core.errors import UserError, nearest
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

METRICS = ("fid", "clip", "val_loss")
BY = ("formulation", NETWORK)
EVERY = "all"
"""What stands for the formulation where networks are compared by their means over all."""


class Row(NamedTuple):
    """A rival against the baseline: what precedes it in its row, by column, the column of its own name, and the numbers."""

    about: dict[str, str]
    rival: str
    found: Comparisons


def of_formulations(
    found: Run, against: str, only: Sequence[str] | None, metrics: Sequence[str], margin: float | None
) -> list[Row]:
    """The formulations of a run, or ``only`` some, against one of them; where it has several networks, by the mean over
    these. Raises `UserError` as `compared`."""
    apart = networks.separated(found)
    return [Row({}, BY[0], one) for one in compared(apart, against, only, metrics, margin)]


def of_networks(
    found: Run, against: str, only: Sequence[str] | None, metrics: Sequence[str], margin: float | None
) -> list[Row]:
    """The networks of a run against one of them: by the mean over its formulations (`EVERY`) and within each, or ``only``
    some of these.

    Raises `UserError` as `compared`, for a formulation that the run lacks, and unless the run's trainings differ in their
    networks and in nothing else.
    """
    if not networks.several(found):
        raise UserError(
            f"--by {NETWORK}: {str(found.path)!r} does not have several networks that differ in nothing else"
        )
    there = list(found.phase("rank").frame["formulation"].unique())
    labels = [EVERY, *there] if len(there) > 1 else there
    return [
        Row({"formulation": label}, "network", one)
        for label in (labels if only is None else [_known(name, labels, found) for name in only])
        for some in [found if label == EVERY else found.formulations(label)]
        for one in compared(networks.exchanged(some), against, None, metrics, margin)
    ]


def of_a_page(found: Run) -> list[Row]:
    """The networks of a run against the usual one or, where the run lacks that, against its first: by the mean over its
    formulations, of those metrics that have values. Empty for a run of one network, and without values."""
    frame = found.phase("rank").frame
    there = [metric for metric in METRICS if metric in frame and frame[metric].notna().any()]
    if not (there and networks.several(found)):
        return []
    trained = list(networks.exchanged(found).frame["formulation"].unique())
    against = network(None) if network(None) in trained else trained[0]
    only = [EVERY] if frame["formulation"].nunique() > 1 else None
    return of_networks(found, against, only, there, None)


def compared(
    found: Run,
    against: str,
    only: Sequence[str] | None,
    metrics: Sequence[str],
    margin: float | None,
) -> list[Comparisons]:
    """The comparisons of a run, each rival by itself at 5 %.

    A metric without values in the run is left out, but for the first, which decides. Raises `UserError` as
    `analysis.comparisons.baseline.against`, for a metric that is none, and for a rival that the run lacks.
    """
    results = found.phase("rank")
    for metric in metrics:
        if metric not in results.metrics:
            raise UserError(f"there is no metric {metric!r}; {nearest(metric, comparable_metrics(results))}")
    there = [m for m in metrics[1:] if m in results.frame and results.frame[m].notna().any()]
    every = baseline.against(results, against, (), metrics[0], margin)
    rivals = every.rivals if only is None else [_known(name, every.rivals, found) for name in only]
    pairs = (results.formulations(name, every.baseline) for name in rivals)
    return [baseline.against(pair, every.baseline, there, metrics[0], margin) for pair in pairs]


def _known(name: str, names: Sequence[str], run: Run) -> str:
    """The one of some names that a name is, in any spelling of its numbers."""
    known = spellings.known(name, names)
    if known is None:
        raise UserError(f"{str(run.path)!r} has no {name!r}: choose from {', '.join(names)}")
    return known


def table(found: Sequence[Row]) -> Table:
    """A row for each run and rival, with a column of differences for each metric."""
    frame = pd.DataFrame(
        [
            {**row.about, row.rival: one.formulation, **_numbers(one)}
            for row in found
            for one in row.found.rows
        ]
    )
    cells = pd.DataFrame(
        [
            {**row.about, row.rival: one.rows[0].formulation}
            | {one.metrics[each.metric].label: comparison.difference(each) for each in one.rows}
            | {"verdict": comparison.verdict(one.rows[0]), "seeds": str(one.rows[0].n)}
            for row in found
            for one in [row.found]
        ]
    ).fillna("")
    like = found[0].found
    lower = [m.label for m in like.metrics.values() if not m.higher_is_better]
    notes = [
        f"differences from {like.baseline}, paired by seed, with intervals that hold however often one looks, 95 % for "
        f"each by itself; lower is better: {names(lower)}; verdict by {like.metrics[like.primary].label}"
        + (f", equivalent within {comparison.margin(like)}" if like.margin is not None else "")
    ]
    if any(row.about.get("formulation") == EVERY for row in found):
        notes.append(f"{EVERY}: of means over the formulations")
    return unmarked("pairs", frame, cells, notes=notes, title=f"Against {like.baseline}")


def _numbers(row: Comparison) -> dict[str, Any]:
    """The numbers of a row, and its verdict."""
    return {name: value for name, value in vars(row).items() if name not in ("formulation", "lost")}
