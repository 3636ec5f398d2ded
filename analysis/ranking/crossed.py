"""``rank --effects``: what the formulation and what the timestep sampler or the network does, in a cross of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.ranking import score_matrix, uncertainty
from analysis.ranking.blocks import seed_count
from analysis.ranking.effects import Effects, Factor, effects
from analysis.ranking.notes import provisional_lines
from analysis.ranking.pending import settled
from analysis.ranking.smallest_gap import Response
from analysis.runs import networks, schema, training_stages
from analysis.runs.run import Run
from analysis.tables.table import TIED, Table, fixed, simple
from analysis.tables.wording import names
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

FACTORS = ("base", "sampler")
NETWORKS = ("formulation", "network")
"""What the factors are called in a run of several networks."""


def tables(run: Run) -> list[Table]:
    """A table of main effects for each response and factor: the deviation of each level from the mean of all, with its 95 %
    interval, and whether it is separable from the best. Formulations that lack a name of base or sampler take no part. In a
    run of several networks the factors are the formulation and the network.

    Raises `UserError` for two formulations with the same base and sampler, and unless the run crosses two formulations or
    more with two samplers or networks or more, over two seeds or more.
    """
    results, called = run.phase("rank"), FACTORS
    if networks.several(results):
        results, called = networks.crossed(results), NETWORKS
    schema.comparable(results)
    rows, provisional = settled(results.frame)
    if not set(FACTORS) <= set(rows.columns) or rows["base"].isna().all():
        raise UserError(
            f"--effects: {str(run.path)!r} does not say which base and sampler its formulations have"
        )
    parts = rows.drop_duplicates("formulation").set_index("formulation")[list(FACTORS)].dropna()
    twice = parts[parts.duplicated(keep=False)].sort_values(list(FACTORS))
    if len(twice):
        base, sampler = twice.iloc[0]
        raise UserError(
            f"--effects: {twice.index[0]} and {twice.index[1]} both are {base!r} with {sampler!r}"
        )
    unnamed = sorted(set(rows["formulation"]) - set(parts.index))
    lines = [*provisional_lines(provisional, run.damaged), *training_stages.described(rows)]
    if unnamed:
        lines.append(f"without a named base and sampler, left out: {names(unnamed)}")
    made: list[Table] = []
    if len(parts):
        table = score_matrix.make(rows[rows["formulation"].isin(parts.index)], run.metrics)
        index = pd.MultiIndex.from_frame(parts.loc[list(table.names)], names=called)
        for response in uncertainty.responses(table):
            blocks = table.blocks(response.name)
            blocks = blocks.relative() if response.log else blocks
            found = effects(replace(blocks, table=blocks.table.set_axis(index, axis=0)))
            if found is not None:
                title = "rank" if response.name == "rank" else run.metrics[response.name].label
                made += [_table(found, factor, response, title, lines) for factor in found.factors]
    if not made:
        raise UserError(
            f"--effects needs two formulations or more, each with the same two timestep samplers or networks or more, "
            f"over two seeds or more: {str(run.path)!r} has none (run the grid with --samplers or --networks, and --seeds)"
        )
    return made


def _table(found: Effects, factor: Factor, response: Response, title: str, lines: list[str]) -> Table:
    interval, tied = factor.effects(), factor.not_separable(response.higher_is_better)
    turn = np.expm1 if response.log else np.asarray
    known = factor.variance > 0
    frame = pd.DataFrame(
        {
            factor.name: factor.levels,
            "effect": turn(interval.estimate),
            "low": turn(interval.low) if known else np.nan,
            "high": turn(interval.high) if known else np.nan,
            "tied": tied & known,
        }
    ).sort_values("effect", ascending=not response.higher_is_better, ignore_index=True)
    write = fixed(1, percent=True) if response.log else fixed(2)
    columns: dict[str, tuple[str, Callable[[Any], str]]] = {
        factor.name: (factor.name, str),
        "effect": ("effect", write),
        "low": ("low", write),
        "high": ("high", write),
        "tied": ("not separable from the best", lambda mark: TIED if mark else ""),
    }

    def size(value: float) -> str:
        return write(float(turn(value)))

    notes = [*lines, *_notes(found, factor, size)]
    if found.interaction.variance > 0:
        notes += _interaction(found, factor, response, size)
    return simple(f"{response.name}_{factor.name}", frame, columns, notes, f"{title} by {factor.name}")


def _notes(found: Effects, factor: Factor, write: Callable[[float], str]) -> list[str]:
    if not factor.variance > 0:
        return [f"effect: the same in all {seed_count(found.counts)}, so the noise of seeds is unknown"]
    called = [each.name for each in found.factors]
    shares = ", ".join(
        f"{name} {100 * share:.0f} %"
        for name, share in zip((*called, "interaction"), found.shares, strict=True)
    )
    lines = [
        f"effect: against the mean over all levels, with its 95 % interval over {seed_count(found.counts)};"
        f" {factor.df:.3g} df; separable gap {write(factor.gap())}, family-wise 95 %",
        f"of what formulations differ by: {shares}",
    ]
    for name, left in zip(called, found.left_out, strict=True):
        if left:
            lines.append(f"not in the full cross, left out: {name} {names(left)}")
    return lines


def _interaction(
    found: Effects, factor: Factor, response: Response, write: Callable[[float], str]
) -> list[str]:
    """Whether the effect of a factor depends on the other one, and whether its best level does."""
    both = found.interaction
    (other,) = (each for each in found.factors if each is not factor)
    low, high = both.ends()
    state = "decided" if low > 0 else "undecided"
    size = f"root mean square {write(both.size)} [{write(low)}, {write(high)}]"
    tied = factor.not_separable_within(response.higher_is_better)
    always = [factor.levels[row] for row in np.flatnonzero(tied.all(axis=1))]
    if not always:
        best = "decided, there is none"
    elif tied.sum() == tied.shape[1]:
        best = f"decided, {always[0]}"
    else:
        best = f"undecided; if there is one, it is {' or '.join(always)}"
    gap = f"separable gap for one {other.name} {write(factor.within_gap())}, family-wise 95 %"
    return [
        f"interaction: {state}, {size}, 95 % interval; F {both.f:.2f}, p {both.p:.2g}",
        f"one best {factor.name} for every {other.name}: {best}; {gap}",
    ]
