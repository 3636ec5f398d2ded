"""``python -m analysis.pairs RUN ... --baseline NAME``: one comparison over several runs, a row for each rival and run.

With ``--by model`` networks are compared, within each formulation and over all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.comparisons.pair_rows import BY, EVERY, METRICS, of_formulations, of_networks, table
from analysis.runs import options, run
from analysis.runs.recipe_fields import NETWORK
from analysis.tables import output
from flowbench._core.command import FLOAT, entry

DESCRIPTION = """Compare formulations with a baseline in several runs, for example of several lengths or data sets: a row
for each rival and run. With --by model compare networks, a row for each formulation and network. A row has a verdict by the
first metric; for each row by itself a false one has a probability of 5 % at most, however often one looks."""
EPILOG = """examples:
  python -m analysis.pairs results/questions/steps-* --baseline rf --formulations 'rf/lognorm(0,1)' --margin 3
  python -m analysis.pairs runs/networks --by model --baseline mmdit --formulations all --metrics val_loss fid"""


def command(argv: Sequence[str] | None) -> int:
    """Run the command; mistakes are exceptions."""
    made = options.parser("pairs", DESCRIPTION, EPILOG)
    made.add_argument("results", nargs="+", type=Path, metavar="RUN", help="run folders, archives or tables")
    made.add_argument("--baseline", required=True, metavar="NAME", help="what the others are compared with")
    made.add_argument(
        "--by",
        choices=BY,
        default=BY[0],
        metavar="|".join(BY),
        help="compare formulations (default), or with model networks",
    )
    chosen = f"only these (default: each; with --by {NETWORK} also {EVERY}, the mean over them)"
    made.add_argument("--formulations", nargs="+", metavar="NAME", help=chosen)
    shown = f"default {' '.join(METRICS)}; the first decides"
    made.add_argument("--metrics", nargs="+", default=list(METRICS), metavar="NAME", help=shown)
    small = "smallest difference that matters, in percent of FID and val_loss"
    made.add_argument("--margin", type=FLOAT, metavar="X", help=small)
    output.add_format(made)
    options.add_where(made)
    args = made.parse(argv)
    compare = of_networks if args.by == NETWORK else of_formulations
    found = [
        row._replace(about={"run": title, **row.about})
        for path, title in run.titles(args.results).items()
        for row in compare(
            run.read(path, args.where), args.baseline, args.formulations, args.metrics, args.margin
        )
    ]
    output.show([table(found)], args.format)
    return 0


main = entry(command)

if __name__ == "__main__":
    sys.exit(main())
