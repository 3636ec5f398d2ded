"""``python -m analysis.rank RESULTS``: which formulation is best, by the study's Pareto ranking, and how sure that is."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.comparisons import baseline, comparison, race_outcome
from analysis.published import families, versus
from analysis.ranking import confirmation, crossed, ideal_columns, ranking, render
from analysis.ranking.result import RankingResult
from analysis.runs import networks, options, run, schema
from analysis.runs.run import Run
from analysis.tables import output
from analysis.tables.table import Table
from flowbench._core.command import FLOAT, INT, Parser, entry
from flowbench._core.errors import UserError

DESCRIPTION = """Rank formulations as the study did: in every control setting (dataset, weights, steps, cfg, solver, grid,
seed) sort them into Pareto fronts on CLIP (up) and FID (down), and average the front index over the settings;
lower is better."""
EPILOG = """examples:
  python -m analysis.rank runs/quick
  python -m analysis.rank runs/paper --by steps --format latex
  python -m analysis.rank runs/paper --where dataset=shapes weights=ema --families
  python -m analysis.rank runs/paper --versus-paper
  python -m analysis.rank runs/mine --baseline 'rf/lognorm(0.00,1.00)' --margin 2
  python -m analysis.rank runs/networks --effects"""
PRIMARY = "fid"


def tables_of(found: Run, ranked: RankingResult, shown: Sequence[str] | None = None) -> list[Table]:
    """The ranking, or those of its rows that are ``shown``, the race that the run was, and the confirmation of its best, if
    there are any."""
    confirmed, raced = confirmation.confirmation(found), race_outcome.of_run(found)
    below = [race_outcome.table(raced)] if raced else []
    below += [render.confirmation_table(confirmed)] if confirmed else []
    return [render.ranking_table(ranked, shown), *below]


FLAGS = {
    "--families": "show only the two best of each family, as the study's table 1",
    "--ideal": "with the FID at 5 steps that of a perfect network (python -m bench.ideal RUN)",
    "--effects": "of formulations crossed with timestep samplers, or with networks: the average effect of each",
    "--versus-paper": "our ranks next to the study's printed ones, their correlation, and where they disagree",
}


def parser() -> Parser:
    """The command's options."""
    made = options.parser("rank", DESCRIPTION, EPILOG)
    what = f"a run folder, or a .parquet or .csv file with the columns {', '.join(schema.REQUIRED)}"
    made.add_argument("results", type=Path, help=what + " (optional: seed, val_loss, kid, status, ...)")
    output.add_format(made)
    by = "also one rank column for each value of this column; model ranks within each network"
    made.add_argument("--by", metavar="|".join(ranking.GROUPS), help=by)
    options.add_where(made)
    made.add_argument("--top", type=INT, metavar="N", help="show only the N best (all are ranked)")
    for name, text in FLAGS.items():
        made.add_argument(name, action="store_true", help=text)
    against = (
        "below the ranking, every other formulation against this one, paired by seed: look after every seed"
    )
    made.add_argument("--baseline", metavar="NAME", help=against)
    decides = f"that decides against the baseline (default {PRIMARY})"
    made.add_argument("--metric", metavar="NAME", help=decides)
    small = "differences from the baseline within X do not matter: percent of FID and losses, else in the metric's unit"
    made.add_argument("--margin", type=FLOAT, metavar="X", help=small)
    return made


def command(argv: Sequence[str] | None) -> int:
    """Run the command; mistakes are exceptions."""
    args = parser().parse(argv)
    if args.top is not None and args.top < 1:
        raise UserError(f"--top is {args.top}, not a whole number from 1")
    views = ["--effects"] * args.effects + ["--versus-paper"] * args.versus_paper
    if len(views) > 1:
        raise UserError(f"{views[0]} and {views[1]} are two different tables: choose one")
    if views and not {args.top, args.by, args.baseline, args.families, args.ideal} <= {None, False}:
        raise UserError(
            f"--top, --families, --ideal, --by and --baseline belong to the ranking: leave them out with {views[0]}"
        )
    if args.baseline is None and (args.metric is not None or args.margin is not None):
        raise UserError(
            "--metric and --margin are of a comparison: name the formulation to compare with, --baseline NAME"
        )
    output.show(_tables(run.read(args.results, args.where), args), args.format)
    return 0


def _tables(found: Run, args: argparse.Namespace) -> list[Table]:
    """The tables that the options choose; against the baseline also formulations that the ranking leaves out as
    unfinished, unless some are chosen."""
    if args.effects:
        return crossed.tables(found)
    ranked = ranking.rank(found, args.by)
    found = networks.separated(found)
    if args.versus_paper:
        return [versus.with_paper(ranked)]
    ranked = ideal_columns.add(ranked, found) if args.ideal else ranked
    kept = (families.best_of_each(ranked) if args.families else list(ranked.names))[: args.top]
    made = tables_of(found, ranked, kept)
    if args.baseline is not None:
        compared = baseline.against(found, args.baseline, primary=args.metric or PRIMARY, margin=args.margin)
        if not set(kept) - {compared.baseline} and (args.top or args.families):
            only = compared.baseline
            raise UserError(f"{only} is the only formulation to show: it has no rival, so show more")
        made.append(comparison.table(compared, kept if args.top or args.families else None))
    return made


main = entry(command)

if __name__ == "__main__":
    sys.exit(main())
