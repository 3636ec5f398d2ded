"""What a scaling experiment shows, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from analysis.report.findings import Verdict
from analysis.report.phrases import listed, name
from analysis.runs import declared
from analysis.scaling import Scaling
from analysis.scaling.efficiency import OURS
from analysis.scaling.numbers import number, power, span
from analysis.tables.wording import count


def verdict(found: Scaling) -> Verdict:
    """The sentences about a scaling experiment; none of runs that differ in compute is the best."""
    points = [*_law(found), *_depth(found), *_quality(found), *_efficiency(found)]
    doubts = [f"{text[:1].upper()}{text[1:]}." for text in (*found.runs.notes, *found.frontier.warnings)]
    if not found.drawn:
        doubts.append("There are no intervals: they need two runs that share two seeds.")
    return Verdict(lead=(_fall(found),), points=tuple(points), doubts=tuple(doubts))


def _fall(found: Scaling) -> str:
    """How far the loss falls along the compute frontier."""
    on = found.table[found.table["frontier"]].sort_values("train_flops")
    digits = declared.decimals(found.table["val_loss"], found.metrics["val_loss"].digits)
    losses = [f"{value:.{digits}f}" for value in on["val_loss"]]
    flops = [number(value) for value in on["train_flops"]]
    of = f"the validation loss of {name(found.runs.formulation)} on {found.runs.dataset}"
    if len(on) == 1:
        return f"No training of more than {flops[0]} FLOPs lowers {of}, which is {losses[0]} there."
    return f"Along the compute frontier, {of} falls from {losses[0]} at {flops[0]} FLOPs to {losses[-1]} at {flops[-1]}."


def _law(found: Scaling) -> Iterator[str]:
    law = found.frontier.law
    if law is not None:
        row = found.laws.iloc[0].to_dict()
        yield (
            f"The law of the frontier, L = E + A (C / {power(law.x0)})^-alpha, has alpha = {span(row, 'alpha', 3)} and a "
            f"floor of E = {span(row, 'e', 4)}, and misses the runs by {100 * float(law.error):.2g} % (root mean square)."
        )


def _depth(found: Scaling) -> Iterator[str]:
    table = found.optimal
    if table.empty:
        return
    rows = [next(same) for _, same in groupby(table.to_dict("records"), key=lambda row: row["depth"])]
    first, *later = [f"{row['depth']} from {power(row['train_flops'])}" for row in rows]
    depths = ", ".join([f"{first} FLOPs on", *later])
    best = f"At equal compute, the best of the depths that were trained with as much is {depths}"
    bounds = int(table["bound"].sum())
    if not bounds:
        yield f"{best}."
        return
    where = "Always" if bounds == len(table) else f"For {bounds} of {count(len(table), 'value')} of compute"
    yield (
        f"{best}. {where} it is the shallowest of them; shallower ones were trained with less and may be better with as "
        f"much, so that this is an upper bound of the compute-optimal depth."
    )


def _quality(found: Scaling) -> Iterator[str]:
    rows = found.correlations.dropna(subset=["spearman"]).to_dict("records")
    each = [f"{found.metrics[row['metric']].label} {span(row, 'spearman', 2)}" for row in rows]
    if each:
        yield f"Spearman's correlation of the validation loss over runs: with {listed(each, named=False)}."


def _efficiency(found: Scaling) -> Iterator[str]:
    """What the fewest sampling steps cost the shallowest and the deepest network."""
    ours = found.efficiency[found.efficiency["source"] == OURS].dropna(axis="columns", how="all")
    drop = next((column for column in map(str, ours) if column.startswith("drop_")), None)
    if drop is None:
        return
    rows = ours.iloc[[0, -1]].drop_duplicates("depth").to_dict("records")
    lost = [f"{span(row, drop, 2)} % at depth {row['depth']}" for row in rows]
    yield (
        f"With {drop.removeprefix('drop_')} sampling steps instead of {rows[0]['reference']}, the CLIP score falls by "
        f"{listed(lost, named=False)}."
    )
