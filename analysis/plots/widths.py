"""How wide figures are, and how much of a name there is room for."""

from __future__ import annotations

from analysis.runs.private import without_paths
from flowbench._core.command import Parser
from flowbench._core.errors import UserError, nearest

COLUMN, PAGE = 3.3, 6.9
"""Widths of a column and of a page of a paper, inches: figures are made to be printed at their size."""
WIDTHS = {"column": COLUMN, "page": PAGE}
LONGEST = 44
"""Characters of a name that are shown; longer ones lose their middle."""
SHORTER = 26
"""The same where names stand next to a figure that is a column wide."""


def alongside(width: float) -> int:
    """Characters of the names that stand next to a figure of a width in inches."""
    return SHORTER if width <= COLUMN else LONGEST


def across(width: float, page: int = 2) -> int:
    """Panels that stand side by side in a figure of a width in inches, where so many are as wide as a ``page``."""
    return 1 if width <= COLUMN else page


def shown(name: str, longest: int = LONGEST) -> str:
    """A name as it stands in a figure: on one line, and not too long."""
    name = " ".join(name.split())
    if len(name) <= longest:
        return name
    half = (longest - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def dataset_shown(dataset: str) -> str:
    """A dataset's name as it stands in a figure, without the folder that its images lie in."""
    return shown(without_paths(dataset))


def add_option(parser: Parser) -> None:
    """Add ``--width``, which names one of `WIDTHS`."""
    sizes = ", ".join(f"{name} {inches:g} in" for name, inches in WIDTHS.items())
    parser.add_argument(
        "--width",
        metavar="|".join(WIDTHS),
        help=f"that figures are to be printed at ({sizes}; default: page)",
    )


def inches(width: str | None) -> float:
    """One of `WIDTHS`, a page by default. Raises `UserError` for an unknown name."""
    if width is None:
        return PAGE
    if width not in WIDTHS:
        raise UserError(f"there is no width {width!r}; {nearest(width, WIDTHS)}")
    return WIDTHS[width]
