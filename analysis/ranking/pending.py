"""What can be ranked while cells are still to come: only formulations and blocks (dataset, seed) that are at their
end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.stats.two_way import complete
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")


@dataclass(frozen=True)
class Provisional:
    """``done`` of ``cells`` trainings are finished; the ranking leaves out ``blocks`` (dataset, seed) of all
    formulations, and ``formulations`` that have nothing in the others."""

    done: int
    cells: int
    blocks: tuple[tuple[str, int], ...]
    formulations: tuple[str, ...]


def settled(frame: pd.DataFrame) -> tuple[pd.DataFrame, Provisional | None]:
    """The rows that can be ranked fairly, and what was left out; None if nothing is pending.

    A cell that is not finished must not rank last, nor must others profit by its absence. So from the table
    formulations x blocks the row or column with the largest share of pending cells is dropped, blocks first where
    equal, until none is left. Raises `UserError` if then nothing is left.
    """
    waiting = frame["status"] == "pending"
    if not waiting.any():
        return frame, None
    keys = ["formulation", "dataset", "seed"]
    cells = waiting.groupby([frame[k] for k in keys]).any()
    table = cells.unstack(["dataset", "seed"], fill_value=False).astype(bool)
    columns, index = complete(table.to_numpy(dtype=bool).T)
    kept = table.iloc[index, columns]
    if kept.empty:
        raise UserError(
            f"{int((~cells).sum())} of {len(cells)} cells are finished, and no formulation has them all for a seed: "
            f"nothing can be ranked yet"
        )
    blocks = [(str(block[0]), int(block[1])) for block in table.columns if block not in kept.columns]
    left = tuple(str(name) for name in table.index if name not in kept.index)
    place = pd.MultiIndex.from_frame(frame[["dataset", "seed"]])
    found = frame[frame["formulation"].isin(kept.index) & place.isin(kept.columns)].reset_index(drop=True)
    return found, Provisional(int((~cells).sum()), len(cells), tuple(blocks), left)
