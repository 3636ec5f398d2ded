"""``python -m analysis.scaling DIR [DIR ...]``: how the loss of one formulation scales with compute."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.plots import widths
from analysis.runs import options
from analysis.tables import output
from flowbench._core.command import Parser, outcome
from flowbench._core.errors import UserError

DESCRIPTION = """What a larger network and a longer training buy, from run folders with one formulation at several
depths and numbers of training steps: the runs, the law L = E + A C^-alpha of the compute frontier, the compute-optimal
depth, how validation loss and quality go together, and how few sampling steps a depth needs. With two seeds or more,
all with 95 % intervals."""
EXAMPLES = """examples:
  python -m analysis.scaling runs/scaling
  python -m analysis.scaling runs/scaling runs/longer
  python -m analysis.scaling runs/scaling --where formulation=rf dataset=shapes
  python -m analysis.scaling runs/scaling --format md --out runs/scaling/plots --width column > scaling.md"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns 0, or 2 after printing one sentence about a mistake of the user's."""
    return outcome(lambda: command(argv))


def command(argv: Sequence[str] | None) -> int:
    """Read, print the tables, draw."""
    made = parser()
    args = made.parse(argv)
    output.check_format(args.format)
    if args.out is not None and args.out.exists() and not args.out.is_dir():
        raise UserError(f"--out {str(args.out)!r} is a file: name a folder for the figures")
    if args.width is not None and args.out is None:
        raise UserError("--width is that of the figures: name a folder for them with --out")
    width = widths.inches(args.width)
    from analysis.runs import run
    from analysis.scaling.scaling_tables import report

    found = report(*(run.read(path, args.where) for path in args.results))
    output.show(found.tables(), args.format)
    if args.out is not None:
        from analysis.plots.files import write
        from analysis.scaling.charts import draw

        for file in write(draw(found, width), args.out):
            print(file, file=sys.stderr, flush=True)
    return 0


def parser() -> Parser:
    """The options."""
    made = options.parser("scaling", DESCRIPTION, EXAMPLES)
    made.add_argument(
        "results",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="a run folder, or its results.parquet; several are one experiment",
    )
    options.add_where(made)
    made.add_argument(
        "--format",
        default="table",
        metavar="|".join(output.FORMATS),
        help="default: table; csv has the runs alone",
    )
    made.add_argument(
        "--out", type=Path, metavar="FOLDER", help="also draw: figures as PNG and SVG, captions as text"
    )
    widths.add_option(made)
    return made


if __name__ == "__main__":
    sys.exit(main())
