"""``python -m analysis.plots RESULTS``: write the figures of a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.plots import FIGURES, FORMATS, draw, widths
from analysis.plots.files import write
from analysis.runs import options
from flowbench._core.command import Parser, outcome
from flowbench._core.errors import UserError, nearest

DESCRIPTION = """Draw a run: each figure as PNG and SVG, with its caption as text. Prints the files that it wrote, and
why a figure cannot be drawn."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns 0, or 2 after printing one sentence about a mistake of the user's."""
    return outcome(lambda: command(argv))


def command(argv: Sequence[str] | None) -> int:
    """Read, draw, write."""
    args = _parser().parse(argv)
    for word, known, what in (
        *((name, FIGURES, "figure") for name in args.only),
        *((kind, FORMATS, "format") for kind in args.format),
    ):
        if word not in known:
            raise UserError(f"there is no {what} {word!r}; {nearest(word, known)}")
    width = widths.inches(args.width)
    from analysis.ranking import ranking
    from analysis.runs import networks, run

    about = networks.separated(run.read(args.results, args.where))
    out = args.out or (about.path if about.path.is_dir() else about.path.parent) / "plots"
    drawn, why = draw(about, ranking.rank(about), args.only, width)
    if not drawn:
        raise UserError("; ".join(f"{name} cannot be drawn: {reason}" for name, reason in why.items()))
    for file in write(drawn, out, args.format):
        print(file, flush=True)
    for name, reason in why.items():
        print(f"{name} cannot be drawn: {reason}")
    return 0


def _parser() -> Parser:
    figures = "\n".join(f"  {name:9} {kind.shows}" for name, kind in FIGURES.items())
    parser = options.parser("plots", DESCRIPTION, f"figures:\n{figures}")
    parser.add_argument("results", type=Path, help="a run folder, a .parquet or a .csv file")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: the folder plots in the run folder")
    parser.add_argument(
        "--only", nargs="+", action="extend", default=[], metavar="NAME", help="only these figures"
    )
    known = " ".join(FORMATS)
    parser.add_argument(
        "--format", nargs="+", default=list(FORMATS), metavar="KIND", help=f"default: {known}"
    )
    widths.add_option(parser)
    options.add_where(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
