"""The numbers that arXiv 2403.03206 prints, as frames: its tables 1, 2, 3, 5 and 6, from ``results/paper``.

- 1: rank of 16 formulations over all 24 control settings, at 5 and at 50 steps (``rank_all``, ``rank_5``, ``rank_50``);
  ``rank_sum_24`` is the whole number that ``rank_all`` is a 24th of
- 2: CLIP score (a cosine) and FID at 25 steps on two datasets
- 3: autoencoders by number of latent channels
- 5: GenEval of its models and of others (``depth``, ``resolution`` and ``dpo`` are NaN for others)
- 6: sampling efficiency by depth: percent of the CLIP score at 50 steps that is lost with 5, 10 and 20, and path length
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

Number = Literal[1, 2, 3, 5, 6]
FOLDER = Path(__file__).resolve().parents[2] / "results" / "paper"
FORMULATIONS = 61
"""How many formulations the study ranked; it prints the ranks of 16."""


def table(number: Number) -> pd.DataFrame:
    """A table of the paper, a fresh frame at each call; ``source`` is where each row is from.

    Raises `UserError` for a table that is not kept, and if the files were not installed.
    """
    if number not in get_args(Number):
        kept = ", ".join(map(str, get_args(Number)))
        raise UserError(f"table {number} of the paper is not kept; known: {kept}")
    return _read(number).copy()


def published() -> pd.Series[Any]:
    """Mean front index over the 24 control settings by formulation, best first: the 16 rows of table 1."""
    return table(1).set_index("formulation")["rank_all"]


@cache
def _read(number: int) -> pd.DataFrame:
    file = FOLDER / f"table{number}.csv"
    if not file.is_file():
        raise UserError(f"the paper's numbers are not at {str(file)!r}: install flowbench again")
    return pd.read_csv(file)
