"""``python -m analysis.report DIR``: a run as one HTML file, made to be read and passed on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.runs import options, run
from flowbench._core.command import Parser, outcome
from flowbench._core.errors import UserError

DESCRIPTION = """Write a run as one HTML file that opens in any browser, without a network: what the numbers say, the
ranking with its intervals, figures, samples, a card for every formulation, failures, and where the numbers come from. Of
one formulation at several depths or numbers of training steps, the tables of analysis.scaling are in the ranking's place."""
EPILOG = """examples:
  python -m analysis.report runs/quick
  python -m analysis.report runs/paper --where dataset=shapes --out shapes.html"""


def parser() -> Parser:
    """The command's options."""
    made = options.parser("report", DESCRIPTION, EPILOG)
    made.add_argument("results", type=Path, help="a run folder, or a .parquet or .csv file without its cells")
    made.add_argument(
        "--out", type=Path, metavar="FILE", help="default: report.html in the folder, or in that of the table"
    )
    options.add_where(made)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns 0, or 2 after printing one sentence about a mistake of the user's."""
    return outcome(lambda: command(argv))


def command(argv: Sequence[str] | None) -> int:
    """What :func:`main` does, with mistakes as exceptions."""
    args = parser().parse(argv)
    folder = args.results if args.results.is_dir() else args.results.parent
    out = args.out or folder / "report.html"
    if out.is_dir():
        raise UserError(f"--out {out} is a folder: name a file, for example {out / 'report.html'}")
    if not out.parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {str(out.parent)!r}")
    found = run.read(args.results, args.where)
    from analysis import scaling
    from analysis.report import contents, page, scaling_contents

    made = (scaling_contents if scaling.is_scaling(found) else contents).read(found, args.where)
    page.write(made, out)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
