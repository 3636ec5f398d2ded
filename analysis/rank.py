"""``python -m analysis.rank RESULTS``: which formulation is best, by the study's Pareto ranking, and how sure that is."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.comparisons import baseline, comparison, race
from analysis.published import families, versus
from analysis.ranking import confirm, crossed, ideal, ranking, render
from analysis.ranking.result import RankingResult
from analysis.results import options, run, schema
from analysis.results.run import Run
from analysis.tables import output
from analysis.tables import table as tables
from analysis.tables.table import Table
from flowbench._core.command import FLOAT, INT, Parser, outcome
from flowbench._core.errors import UserError

DESCRIPTION = """Rank formulations as the study did: in every control setting (dataset, weights, steps, cfg, solver, grid,
seed) sort them into Pareto fronts on CLIP (up) and FID (down), and average the front index over the settings;
lower is better."""
EPILOG = """examples:
  python -m analysis.rank runs/quick
  python -m analysis.rank runs/paper --by steps --format latex
  python -m analysis.rank runs/paper --where dataset=shapes weights=ema --families
  python -m analysis.rank runs/paper --versus-paper
  python -m analysis.rank runs/mine --baseline 'rf/lognorm(0.00,1.00)' --margin 2"""
PRIMARY = "fid"


def tables_of(found: Run, ranked: RankingResult, shown: Sequence[str] | None = None) -> list[Table]:
    """The ranking, or those of its rows that are ``shown``, the race that the run was, and the confirmation of its best, if
    there are any."""
    confirmed, raced = confirm.confirmation(found), race.of_run(found)
    return [
        render.ranking_table(ranked, shown),
        *([] if raced is None else [race.table(raced)]),
        *([] if confirmed is None else [render.confirmation_table(confirmed)]),
    ]


def parser() -> Parser:
    """The command's options."""
    made = options.parser("rank", DESCRIPTION, EPILOG)
    what = f"a run folder, or a .parquet or .csv file with the columns {', '.join(schema.REQUIRED)}"
    made.add_argument("results", type=Path, help=what + " (optional: seed, val_loss, kid, status, ...)")
    made.add_argument("--format", default="table", metavar="|".join(output.FORMATS), help="default: table")
    made.add_argument(
        "--by", metavar="|".join(ranking.GROUPS), help="also one rank column for each value of this column"
    )
    options.add_where(made)
    made.add_argument("--top", type=INT, metavar="N", help="show only the N best (all are ranked)")
    made.add_argument(
        "--families",
        action="store_true",
        help="show only the two best of each family, as the study's table 1",
    )
    made.add_argument(
        "--ideal",
        action="store_true",
        help="beside the FID at 5 steps that of a perfect network (python -m bench.ideal RUN)",
    )
    made.add_argument(
        "--effects",
        action="store_true",
        help="of formulations crossed with timestep samplers: what each formulation and each sampler does on average",
    )
    made.add_argument(
        "--versus-paper",
        action="store_true",
        help="our ranks beside the study's printed ones, their correlation, and where they disagree",
    )
    made.add_argument(
        "--baseline",
        metavar="NAME",
        help="below the ranking, every other formulation against this one, paired by seed: look after every seed",
    )
    made.add_argument(
        "--metric", metavar="NAME", help=f"that decides against the baseline (default {PRIMARY})"
    )
    made.add_argument(
        "--margin",
        type=FLOAT,
        metavar="X",
        help="differences from the baseline within X do not matter: percent of FID and losses, else in the metric's unit",
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns 0, or 2 after printing one sentence about a mistake of the user's."""
    return outcome(lambda: command(argv))


def command(argv: Sequence[str] | None) -> int:
    """What :func:`main` does, with mistakes as exceptions."""
    made = parser()
    args = made.parse(argv)
    output.check_format(args.format)
    if args.top is not None and args.top < 1:
        raise UserError(f"--top is {args.top}, not a whole number from 1")
    views = [f"--{n}" for n in ("effects", "versus-paper") if getattr(args, n.replace("-", "_"))]
    if len(views) > 1:
        raise UserError(f"{views[0]} and {views[1]} are two different tables: choose one")
    if views and (
        args.top is not None or args.families or args.by or args.ideal or args.baseline is not None
    ):
        raise UserError(
            f"--top, --families, --ideal, --by and --baseline belong to the ranking: leave them out beside {views[0]}"
        )
    if args.baseline is None and (args.metric is not None or args.margin is not None):
        raise UserError(
            "--metric and --margin are of a comparison: name the formulation to compare with, --baseline NAME"
        )
    found = run.read(args.results, args.where)
    shown = _tables(found, args)
    output.show(shown, args.format)
    return 0


def _tables(found: run.Run, args: argparse.Namespace) -> list[tables.Table]:
    """The tables that the options choose."""
    if args.effects:
        return crossed.tables(found)
    ranked = ranking.rank(found, args.by)
    if args.versus_paper:
        return [versus.beside_paper(ranked)]
    ranked = ideal.add(ranked, found) if args.ideal else ranked
    kept = families.best_of_each(ranked) if args.families else list(ranked.names)
    kept = kept[: args.top]
    below = []
    if args.baseline is not None:
        below = [_against(found, args, kept if args.top or args.families else None)]
    return [*tables_of(found, ranked, kept), *below]


def _against(found: run.Run, args: argparse.Namespace, kept: Sequence[str] | None) -> tables.Table:
    """Formulations against the baseline: all of them, also those that the ranking leaves out as unfinished, or the kept."""
    made = baseline.against(found, args.baseline, primary=args.metric or PRIMARY, margin=args.margin)
    if kept is not None and not set(kept) - {made.baseline}:
        raise UserError(f"{made.baseline} is the only formulation to show: it has no rival, so show more")
    return comparison.table(made, kept)


if __name__ == "__main__":
    sys.exit(main())
