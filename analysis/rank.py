"""``python -m analysis.rank RESULTS``: which formulation is best, by the study's Pareto ranking.

Per control setting (dataset, weights, steps, cfg and seed) the formulations are sorted into fronts on CLIP
(up) and FID (down), `analysis.pareto`; a formulation's rank is its front index averaged over settings, lower
is better (arXiv 2403.03206, section 5.1 and Table 1).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from samplers.errors import UserError, nearest
from samplers.lazy import lazy

from . import schema
from .pareto import fronts
from .render import FORMATS, render
from .resolution import METRICS as RESOLVED
from .resolution import resolution

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

__all__ = ["main", "rank", "render"]

DESCRIPTION = """Rank formulations as the study did: in every control setting (dataset, weights, steps, cfg,
seed) sort them into Pareto fronts on CLIP (up) and FID (down), and average the front index over the settings;
lower is better."""
GROUPS = ("steps", "dataset", "cfg", "weights")
FEW, MANY, USUAL_CFG = 5, 50, 5.0


def rank(
    frame: pd.DataFrame, *, by: str | None = None, yardsticks: Mapping[str, Mapping[str, Any]] | None = None
) -> pd.DataFrame:
    """The ranking of a results table (`analysis.schema`), best first, one row per formulation. Pure.

    Columns, lower is better except for ``clip`` and ``composition``:

    * ``rank_all``: front index averaged over all settings. An entry that is absent, not finite or has a
      status other than ``done`` comes after all others of its setting (last front + 1).
    * ``rank_5``, ``rank_50``: the same over the settings with 5 steps, and over those with 50 steps and the
      guidance of the 5-step settings (5.0 where there are none): every number in the study's two columns is a
      multiple of 1/4, so each averages four settings. NaN where there is no such setting.
    * with ``by``, also ``rank[steps=5]`` and so on for every value of that column.
    * ``rank_clip``, ``rank_fid``, ``rank_val_loss``: mean dense rank by that metric alone.
    * ``clip``, ``fid``, ``kid``, ``composition``: means over the settings that have a value; ``val_loss``:
      mean over datasets and seeds.
    * ``settings``, and how many of them the formulation lacks: ``diverged``, ``failed``, ``missing``.

    Formulations of equal ``rank_all`` are in the order of their names. A metric of which the table has no
    value at all (CLIP of an extractor that reads no text) is left out of the sorting, and the notes say so.
    ``.attrs`` holds what `render` prints beside the table. Raises `UserError` as `analysis.schema.check`
    does.
    """
    if by is not None and by not in GROUPS:
        raise UserError(f"cannot group by {by!r}; {nearest(by, GROUPS)}")
    given = yardsticks if yardsticks is not None else frame.attrs.get("yardsticks")
    table = _drop_lost(schema.check(frame))
    if table[["clip", "fid"]].isna().all(axis=None):
        raise UserError("no formulation has a CLIP score or FID in any setting: there is nothing to rank")
    ranks = _ranks(table)
    means = ranks.groupby("formulation")
    out = pd.DataFrame({"rank_all": means["front"].mean()})
    few, many = _few_and_many(ranks)
    out["rank_5"] = ranks[few].groupby("formulation")["front"].mean().reindex(out.index)
    out["rank_50"] = ranks[many].groupby("formulation")["front"].mean().reindex(out.index)
    if by is not None:
        for value, group in ranks.groupby(by):
            out[f"rank[{by}={_plain(value)}]"] = group.groupby("formulation")["front"].mean()
    for metric in ("clip", "fid", "val_loss"):
        if f"rank_{metric}" in ranks:
            out[f"rank_{metric}"] = means[f"rank_{metric}"].mean()
    out = out.join(_means(table))
    out["settings"] = means.size()
    for state in ("diverged", "failed", "missing"):
        out[state] = (ranks["status"] == state).groupby(ranks["formulation"]).sum()
    out = out.reset_index().sort_values(["rank_all", "formulation"], ignore_index=True)
    out.attrs.update(_notes(table, out, given))
    return out


def _drop_lost(table: pd.DataFrame) -> pd.DataFrame:
    """Values of entries that are not done, and infinite ones, become NaN."""
    table = table.copy()
    for metric in schema.METRICS:
        if metric in table:
            table[metric] = table[metric].where((table["status"] == "done") & np.isfinite(table[metric]))
    return table


def _objectives(table: pd.DataFrame) -> list[str]:
    return [m for m in ("clip", "fid") if table[m].notna().any()] or ["clip", "fid"]


def _ranks(table: pd.DataFrame) -> pd.DataFrame:
    """One row per setting and formulation, absent ones included: front, rank by each metric, and status."""
    objectives = _objectives(table)
    names = sorted(table["formulation"].unique())
    metrics = [m for m in ("clip", "fid", "val_loss") if m in table and table[m].notna().any()]
    parts = []
    for setting, rows in table.groupby(list(schema.SETTING)):
        rows = rows.set_index("formulation").reindex(names)
        lost = rows[objectives].isna().any(axis=1)
        part = pd.DataFrame(dict(zip(schema.SETTING, setting, strict=True)), index=rows.index)
        part["front"] = fronts(rows[objectives], [schema.HIGHER_IS_BETTER[m] for m in objectives])
        if lost.all():  # a setting in which nobody has a value ranks nobody
            part["front"] = np.nan
        for metric in metrics:
            part[f"rank_{metric}"] = fronts(rows[[metric]], [schema.HIGHER_IS_BETTER[metric]])
        status = rows["status"].fillna("missing")
        part["status"] = status.where((status != "done") | ~lost, "missing")
        parts.append(part.rename_axis("formulation").reset_index())
    return pd.concat(parts, ignore_index=True)


def _few_and_many(ranks: pd.DataFrame) -> tuple[pd.Series[bool], pd.Series[bool]]:
    """Which rows belong to the 5-step and to the 50-step column."""
    few = ranks["steps"] == FEW
    scales = ranks.loc[few, "cfg"].unique() if few.any() else [USUAL_CFG]
    return few, (ranks["steps"] == MANY) & ranks["cfg"].isin(scales)


def _means(table: pd.DataFrame) -> pd.DataFrame:
    """Mean metrics by formulation; the validation loss belongs to a cell, so it is averaged over cells."""
    groups = table.groupby("formulation")
    columns = {m: groups[m].mean() for m in ("clip", "fid", "kid", "composition") if m in table}
    if "val_loss" in table:
        cells = table.groupby(["formulation", "dataset", "seed"])["val_loss"].mean()
        columns["val_loss"] = cells.groupby("formulation").mean()
    return pd.DataFrame(columns)


def _notes(
    table: pd.DataFrame, ranking: pd.DataFrame, yardsticks: Mapping[str, Mapping[str, Any]] | None
) -> dict[str, Any]:
    """What stands beside the table, as plain JSON-able values."""
    recipes = {
        column.removesuffix("_name"): {
            str(dataset): str(names.iloc[0])
            for dataset, names in table.dropna(subset=[column]).groupby("dataset")[column]
        }
        for column in schema.NAMES
        if column in table
    }
    datasets = sorted(map(str, table["dataset"].unique()))
    found = [resolution(table, metric) for metric in RESOLVED]
    samplers = table[["steps", "cfg"]].drop_duplicates().sort_values(["steps", "cfg"])
    return {
        "formulations": len(ranking),
        "settings": int(ranking["settings"].iloc[0]),
        "datasets": datasets,
        "weights": sorted(map(str, table["weights"].unique())),
        "samplers": [[int(steps), float(cfg)] for steps, cfg in samplers.to_numpy()],
        "seeds": int(table["seed"].nunique()),
        "objectives": _objectives(table),
        "recipes": {metric: names for metric, names in recipes.items() if names},
        "resolution": [vars(r) for r in found if r is not None],
        "yardsticks": {str(d): dict(v) for d, v in (yardsticks or {}).items() if str(d) in datasets},
    }


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see --help")


def _parser() -> _Parser:
    parser = _Parser(prog="python -m analysis.rank", description=DESCRIPTION)
    columns = ", ".join(schema.REQUIRED)
    what = f"a run folder, or a .parquet or .csv file with the columns {columns}"
    parser.add_argument(
        "results", type=Path, help=what + " (optional: seed, val_loss, kid, composition, status)"
    )
    parser.add_argument("--format", default="table", metavar="|".join(FORMATS), help="default: table")
    parser.add_argument(
        "--by", metavar="|".join(GROUPS), help="also one rank column for each value of this column"
    )
    parser.add_argument("--top", type=int, metavar="N", help="show only the N best (all are ranked)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns 0, or 2 after printing one sentence about a mistake of the user's."""
    try:
        args = _parser().parse_args(argv)
        if args.format not in FORMATS:
            raise UserError(f"unknown format {args.format!r}; {nearest(args.format, FORMATS)}")
        if args.top is not None and args.top < 1:
            raise UserError(f"--top is {args.top}, not a whole number from 1")
        ranking = rank(schema.read(args.results), by=args.by)
        if args.top is not None:
            ranking = ranking.head(args.top)
        print(render(ranking, args.format, colour=sys.stdout.isatty()), flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of a pipe has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print(f"error: {error.filename or 'output'}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
