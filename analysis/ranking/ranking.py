"""The ranking of formulations by the study's Pareto fronts, with the uncertainty of every number.

Per control setting (dataset, weights, steps, cfg, solver, grid) and seed the formulations are sorted into fronts on CLIP
(up) and FID (down), `analysis.stats.pareto`; a formulation's rank is its front index averaged over settings, lower is better
(arXiv 2403.03206, section 5.1 and table 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.ranking import per_sample, uncertainty, untrained, wide
from analysis.ranking.fixed_draw import FixedDraw
from analysis.ranking.pending import Provisional, settled
from analysis.ranking.uncertainty import Known
from analysis.ranking.wide import Wide
from analysis.results import declared, schema
from analysis.results.run import Run, phase
from bench.config import settings
from flowbench._core.errors import UserError, nearest
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

GROUPS = schema.CONTROL
STATES = ("diverged", "failed", "missing")


def rank(
    frame: pd.DataFrame,
    *,
    by: str | None = None,
    run: Run | None = None,
    yardsticks: Mapping[str, Mapping[str, Any]] | None = None,
) -> pd.DataFrame:
    """The ranking of a results table (`analysis.results.schema`), best first, one row per formulation. Pure.

    Of ranks lower is better, of ``front_one``, ``first`` and ``wins`` higher:

    * ``rank_all``: front index averaged over all settings. An entry that is absent, not finite, diverged or failed
      comes after all others of its setting (last front + 1). Cells that are not finished rank nowhere
      (`analysis.ranking.pending`).
    * ``position`` from 1, and what `analysis.ranking.uncertainty` says of it: ``position_low``, ``position_high``,
      ``front_one``, ``first``, ``wins`` ...; for each of ``rank``, ``clip``, ``fid``, ``val_loss`` whether it is
      ``tied`` with the best, ``low`` and ``high``. With one seed and a ``run``, ``low`` and ``high`` are
      `analysis.ranking.per_sample`'s.
    * ``rank_5``, ``rank_50``: over the settings with 5 steps, and over those with 50 steps and the guidance of the 5-step
      settings (`analysis.ranking.wide.Wide.many`). NaN where there is no such setting.
    * with ``by``, also ``rank[steps=5]`` and so on for every value of that column.
    * ``rank_clip``, ``rank_fid``, ``rank_val_loss``: mean dense rank by that metric alone.
    * ``clip``, ``fid``, ``val_loss`` and so on, of every metric that is declared (`analysis.results.declared`):
    means over the
      settings, or trainings, that have a value.
    * ``clip_lacking`` and so on: over how many settings or trainings fewer than the others that mean goes.
    * ``settings``, and how many of them the formulation lacks: ``diverged``, ``failed``, ``missing``.

    Formulations of equal ``rank_all`` are in the order of their names. A metric of which the table has no value at
    all (CLIP of an extractor that reads no text) is left out of the sorting, and the notes say so. ``.attrs`` holds
    what stands beside the table. Raises `UserError` as `analysis.results.schema.check` and `comparable` do, and if there is
    nothing to rank.
    """
    if by is not None and by not in GROUPS:
        raise UserError(f"cannot group by {by!r}; {nearest(by, GROUPS)}")
    checked = schema.check(frame)
    checked.attrs.update(frame.attrs)
    return assess(checked, by, run, yardsticks)[0]


def of_run(run: Run, by: str | None = None) -> pd.DataFrame:
    """`rank` of a run, whose table is checked already."""
    if by is not None and by not in GROUPS:
        raise UserError(f"cannot group by {by!r}; {nearest(by, GROUPS)}")
    return assess(run.frame, by, run)[0]


def assess(
    checked: pd.DataFrame,
    by: str | None = None,
    run: Run | None = None,
    yardsticks: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[pd.DataFrame, Known]:
    """`rank` of a table that `analysis.results.schema.check` has made, and the models behind its intervals."""
    rows = phase(checked, "rank")
    if rows.empty:
        raise UserError("the table has rows of a confirmation only: there is nothing to rank")
    schema.comparable(rows)
    rows, provisional = settled(rows)
    table = wide.make(rows)
    if not any(np.isfinite(table.values[m]).any() for m in ("clip", "fid")):
        counts = rows.groupby("status")["formulation"].size()
        told = ", ".join(f"{n} rows {state}" for state, n in counts.items() if state != "done")
        raise UserError(
            f"no formulation has a CLIP score or FID in any setting{f' ({told})' if told else ''}: there is nothing to rank"
        )
    if np.isnan(table.fronts).all():
        raise UserError(
            "no formulation has both a CLIP score and a FID in any setting: there is nothing to rank"
        )
    out = _points(table, by).sort_values(["rank_all", "formulation"], ignore_index=True)
    out.insert(2, "position", np.arange(1, len(out) + 1))
    known = uncertainty.of(table, fixed=None if run is None else FixedDraw(run, table))
    out = out.join(uncertainty.columns(known, table, out), on="formulation")
    if max(table.seed_counts.values()) == 1 and run is not None:
        _one_run(out, run, rows)
    given = yardsticks if yardsticks is not None else checked.attrs.get("yardsticks")
    out.attrs.update(_about(rows, table, out, given, provisional))
    out.attrs["resolution"] = [asdict(r) for r in known.resolutions]
    out.attrs["agreement"] = known.agreement
    out.attrs["without_interval"] = list(known.left_out)
    out.attrs["unknown"] = known.unknown
    out.attrs["where"] = list(checked.attrs.get("where", []))
    out.attrs["damaged"] = list(checked.attrs.get("damaged", []))
    return out, known


def _points(table: Wide, by: str | None) -> pd.DataFrame:
    """Every number that needs no statistics."""
    out = pd.DataFrame({"formulation": list(table.names), "rank_all": table.means("rank")})
    for column, rows in (("rank_5", table.few()), ("rank_50", table.many())):
        out[column] = table.means("rank", rows) if rows.any() else np.nan
    if by is not None:
        for value in sorted(table.settings[by].unique()):
            out[f"rank[{by}={_plain(value)}]"] = table.means("rank", np.asarray(table.settings[by] == value))
    for metric in declared.COMPARED:
        if metric in table.values and np.isfinite(table.values[metric]).any():
            alone = wide.ranked(table.values, [table.metrics[metric]])
            out[f"rank_{metric}"] = np.nanmean(alone, axis=0)
    for name, declaration in table.metrics.items():
        if declaration.ranked and name in table.values:
            out[name] = table.means(name)
            out[f"{name}_lacking"] = _lacking(table, name)
    counted = ~np.isnan(table.fronts)
    out["settings"] = counted.sum(axis=0)
    for state in STATES:
        out[state] = ((table.status == state) & counted).sum(axis=0)
    return out


def _lacking(table: Wide, metric: str) -> NDArray[np.int64]:
    """``[F]``: in how many settings (trainings, for a validation loss) others have a value and a formulation has none."""
    there = ~np.isnan(table.values[metric])
    if table.of_training(metric):
        blocks = table.settings.groupby(["dataset", "seed"], observed=True).ngroup().to_numpy()
        there = np.array([there[blocks == b].any(axis=0) for b in range(blocks.max() + 1)])
    return np.asarray((there.any(axis=1, keepdims=True) & ~there).sum(axis=0))


def _one_run(out: pd.DataFrame, run: Run, rows: pd.DataFrame) -> None:
    """Add the intervals of single runs."""
    means = out.set_index("formulation")
    found = per_sample.intervals(run, rows, means, str(out["formulation"].iloc[0]))
    for column in found:
        out[column] = found[column].reindex(out["formulation"]).to_numpy()


def _about(
    rows: pd.DataFrame,
    table: Wide,
    ranking: pd.DataFrame,
    yardsticks: Mapping[str, Mapping[str, Any]] | None,
    provisional: Provisional | None,
) -> dict[str, Any]:
    """What stands beside the table, as plain JSON-able values."""
    recipes = {
        column.removesuffix("_name"): {
            str(dataset): str(names.iloc[0])
            for dataset, names in rows.dropna(subset=[column]).groupby("dataset", observed=True)[column]
        }
        for column in schema.columns_of(rows).names
        if column in rows
    }
    counted = (~np.isnan(table.fronts)).any(axis=1)
    datasets = sorted(map(str, table.settings["dataset"].unique()))
    samplers = table.settings[list(settings.FIELDS)].drop_duplicates()
    return {
        "formulations": len(ranking),
        declared.KEPT: declared.kept(table.metrics.values()),
        "settings": int(counted.sum()),
        "uncounted": int((~counted).sum()),
        "datasets": datasets,
        "weights": sorted(map(str, table.settings["weights"].unique())),
        "samplers": [asdict(s) for s in sorted(settings.Setting(*row) for row in samplers.to_numpy())],
        "seeds": min(table.seed_counts.values()),
        "seed_counts": table.seed_counts,
        "objectives": list(table.objectives),
        "recipes": {metric: names for metric, names in recipes.items() if names},
        "yardsticks": {str(d): dict(v) for d, v in (yardsticks or {}).items() if str(d) in datasets},
        "provisional": asdict(provisional) if provisional else None,
        "untrained": untrained.found(rows),
        "nothing_learned": untrained.nothing_learned(rows),
    }


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
