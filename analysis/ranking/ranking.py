"""The ranking of formulations by the study's Pareto fronts, with the uncertainty of every number.

Per control setting (dataset, weights, steps, cfg, solver, grid) and seed the formulations are sorted into fronts on CLIP
(up) and FID (down), `analysis.stats.pareto`; a formulation's rank is its front index averaged over settings, lower is better
(arXiv 2403.03206, section 5.1 and table 1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.ranking import per_sample, score_matrix, uncertainty, untrained_rows
from analysis.ranking.fixed_draw import FixedDraw
from analysis.ranking.pending import Provisional, settled
from analysis.ranking.result import RANK, STATES, Estimate, Facts, RankingResult
from analysis.ranking.score_matrix import Wide
from analysis.ranking.uncertainty import Uncertainty
from analysis.runs import declared, networks, recipe_fields, schema, training_stages
from analysis.runs.run import Run
from analysis.runs.schema import Results
from bench.config import sampling_settings
from flowbench._core.errors import UserError, nearest
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

GROUPS = (*schema.CONTROL, recipe_fields.NETWORK)


def rank(found: Results, by: str | None = None) -> RankingResult:
    """Rank the formulations of a results table. Of a `Run` the samples of its cells add intervals where there is one seed,
    and tell what the one draw of captions leaves open.

    The columns; of ranks lower is better, of ``front_one``, ``first`` and ``wins`` higher:

    * ``rank_all``: front index averaged over all settings. An entry that is absent, not finite, diverged or failed
      comes after all others of its setting (last front + 1). Cells that are not finished rank nowhere
      (`analysis.ranking.pending`). Its ``tied``, ``low`` and ``high``, and those of ``clip``, ``fid`` and ``val_loss``,
      are `analysis.ranking.uncertainty`'s.
    * ``position`` from 1, with its interval
    * ``rank_5``, ``rank_50``: over the settings with 5 steps, and over those with 50 steps and the guidance of the 5-step
      settings (`analysis.ranking.score_matrix.Wide.many`). NaN where there is no such setting.
    * with ``by``, also ``rank[steps=5]`` and so on for every value of that column; by ``model`` networks stand apart, with
      their names behind that of the dataset: ``rank[dataset=shapes with dit]``
    * ``rank_clip``, ``rank_fid``, ``rank_val_loss``: mean dense rank by that metric alone
    * ``clip``, ``fid``, ``val_loss`` and so on, of every metric that is declared: means over the settings, or
      trainings, that have a value; ``lacking``: over how many settings or trainings fewer than the others
    * ``front_one``, ``first``, ``wins``: see `analysis.stats.position_bootstrap` and `analysis.stats.wins`

    Several networks stand apart, too, without ``by``: each has settings of its own, as data sets have.
    Formulations of equal ``rank_all`` are in the order of their names. A metric without any value in the table (CLIP of an
    extractor that reads no text) is left out of the sorting, and the notes name it. Raises `UserError` as
    `analysis.runs.schema.comparable` does, for an unknown ``by``, and if there is nothing to rank.
    """
    if by is not None and by not in GROUPS:
        raise UserError(f"cannot group by {by!r}; {nearest(by, GROUPS)}")
    if by == recipe_fields.NETWORK:
        found, by = networks.apart(found), "dataset"
    found = networks.separated(found)
    results = found.phase("rank")
    if results.frame.empty:
        raise UserError("the table has rows of a confirmation only: there is nothing to rank")
    schema.comparable(results)
    rows, provisional = settled(results.frame)
    table = score_matrix.make(rows, found.metrics)
    _check(table, rows)
    columns, counts = _points(table, by)
    fixed = FixedDraw(found, table) if isinstance(found, Run) else None
    known = uncertainty.of(table, fixed=fixed)
    columns = uncertainty.estimates(known, table, columns)
    if max(table.seed_counts.values()) == 1 and isinstance(found, Run):
        columns = per_sample.intervals(found, rows, columns)
    facts = _facts(found, rows, table, known, provisional)
    return RankingResult(tuple(counts.index), columns, counts, facts, known.models)


def _check(table: Wide, rows: pd.DataFrame) -> None:
    if not any(np.isfinite(table.values[m]).any() for m in ("clip", "fid")):
        counts = rows.groupby("status")["formulation"].size()
        states = ", ".join(f"{n} rows {state}" for state, n in counts.items() if state != "done")
        states = f" ({states})" if states else ""
        raise UserError(
            f"no formulation has a CLIP score or FID in any setting{states}: there is nothing to rank"
        )
    if np.isnan(table.fronts).all():
        raise UserError(
            "no formulation has both a CLIP score and a FID in any setting: there is nothing to rank"
        )


def _points(table: Wide, by: str | None) -> tuple[dict[str, Estimate], pd.DataFrame]:
    """Every number that needs no statistics, and the counts of settings, by formulation and best first."""
    ranks = table.means("rank")
    order = np.argsort(ranks, kind="stable")
    index = pd.Index([table.names[i] for i in order], name="formulation")

    def column(values: NDArray[Any], lacking: NDArray[np.int64] | None = None) -> Estimate:
        less = None if lacking is None else pd.Series(lacking[order], index=index)
        return Estimate(pd.Series(values[order], index=index), lacking=less)

    found = {RANK: column(ranks), "position": Estimate(pd.Series(np.arange(1, len(order) + 1), index=index))}
    for name, rows in (("rank_5", table.few()), ("rank_50", table.many())):
        found[name] = column(table.means("rank", rows) if rows.any() else np.full(len(order), np.nan))
    if by is not None:
        for value in sorted(table.settings[by].unique()):
            text = f"{value:g}" if isinstance(value, float) else str(value)
            found[f"rank[{by}={text}]"] = column(table.means("rank", np.asarray(table.settings[by] == value)))
    for metric in declared.COMPARED:
        if metric in table.values and np.isfinite(table.values[metric]).any():
            alone = score_matrix.ranked(table.values, [table.metrics[metric]])
            found[f"rank_{metric}"] = column(np.nanmean(alone, axis=0))
    for name, declaration in table.metrics.items():
        if declaration.ranked and name in table.values:
            found[name] = column(table.means(name), table.lacking(name))
    counted = ~np.isnan(table.fronts)
    states = {state: ((table.status == state) & counted).sum(axis=0)[order] for state in STATES}
    return found, pd.DataFrame({"settings": counted.sum(axis=0)[order], **states}, index=index)


def _facts(
    found: Results, rows: pd.DataFrame, table: Wide, known: Uncertainty, provisional: Provisional | None
) -> Facts:
    counted = (~np.isnan(table.fronts)).any(axis=1)
    datasets = tuple(sorted(map(str, table.settings["dataset"].unique())))
    samplers = table.settings[list(sampling_settings.FIELDS)].drop_duplicates()
    return Facts(
        formulations=len(table.names),
        metrics=tuple(table.metrics.values()),
        settings=int(counted.sum()),
        uncounted=int((~counted).sum()),
        datasets=datasets,
        weights=tuple(sorted(map(str, table.settings["weights"].unique()))),
        samplers=tuple(sorted(sampling_settings.Setting(*row) for row in samplers.to_numpy())),
        seed_counts=table.seed_counts,
        objectives=table.objectives,
        recipes=declared.full_names(rows, table.metrics),
        real_scores={d: dict(v) for d, v in found.real_scores.items() if d in datasets},
        provisional=provisional,
        untrained=untrained_rows.found(rows),
        nothing_learned=untrained_rows.nothing_learned(rows),
        resolution=known.resolutions,
        agreement=None if known.stability is None else float(known.stability.agreement),
        without_interval=known.left_out,
        unknown=known.unknown,
        where=found.where,
        damaged=found.damaged,
        stages=training_stages.described(rows),
    )
