"""What the commands of the analysis have in common: how they read options, and ``--where``."""

from __future__ import annotations

from flowbench._core.command import Parser


def parser(command: str, description: str, epilog: str | None = None) -> Parser:
    """A parser for ``python -m analysis.COMMAND``."""
    return Parser(prog=f"python -m analysis.{command}", description=description, epilog=epilog)


def add_where(made: Parser) -> None:
    """Add ``--where`` (`analysis.runs.where`), which may be given several times."""
    made.add_argument(
        "--where",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="only rows with this value: dataset=shapes, steps=50, weights=ema, 'formulation=rf/*', model.depth=4 ...",
    )
