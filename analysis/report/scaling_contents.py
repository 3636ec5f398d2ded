"""Everything that a page shows of a scaling experiment: one formulation at several sizes, which are not ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from analysis import scaling
from analysis.report.contents import Report, chosen, unranked
from analysis.report.embedded import scaling_figures
from analysis.report.failures import failures
from analysis.report.gallery import gallery
from analysis.report.page_provenance import provenance
from analysis.report.scaling_findings import verdict
from analysis.runs import declared
from analysis.runs.run import Run
from analysis.scaling import Scaling, scaling_runs
from analysis.tables.wording import count
from flowbench._core.errors import UserError


def read(run: Run, where: Sequence[str] = ()) -> Report:
    """Everything about the scaling of a run (`analysis.scaling.is_scaling`). If too little of it is finished, the report has
    only that reason and the failures.

    ``where`` are the conditions that chose its rows. Raises `UserError` where several formulations, datasets or other
    recipes are mixed (`analysis.scaling.scaling_runs.check`).
    """
    scaling_runs.check(run)
    sized = scaling_runs.by_size(run)
    failed = failures(sized)
    try:
        found = scaling.report(run)
    except UserError as error:
        return unranked(run, str(error), failed, where)
    pictures = gallery(sized, _longest(found))
    names = declared.full_names(found.runs.rows, found.metrics)
    origin = provenance(run, names)
    return Report(
        title=run.name,
        facts=(*_facts(found), *chosen(names, where), *([origin.when] if origin.when else [])),
        verdict=verdict(found),
        failures=replace(failed, damaged=(*failed.damaged, *pictures.damaged)),
        provenance=origin,
        scaling=tuple(found.tables()),
        figures=scaling_figures(found),
        gallery=pictures,
    )


def _longest(found: Scaling) -> list[str]:
    """The longest training of each depth; of one depth all trainings."""
    table = found.runs.table
    if table["depth"].nunique() > 1:
        table = table.groupby("depth").tail(1)
    return [scaling_runs.size(depth, steps) for depth, steps in table[["depth", "steps"]].to_numpy().tolist()]


def _facts(found: Scaling) -> tuple[str, ...]:
    """What was trained, and on what data, in a few words."""
    runs = found.runs
    depths, budgets = (runs.table[column].nunique() for column in ("depth", "steps"))
    return (
        runs.formulation,
        count(depths, "depth"),
        f"{budgets} training {'length' if budgets == 1 else 'lengths'}",
        count(len(runs.seeds), "seed"),
        runs.dataset,
    )
