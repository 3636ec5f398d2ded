"""The trainings that a mean is over, and why a mean may have no interval.

A block is a dataset with a seed: all formulations of a block share initial weights, data order and noise. Blocks of two
datasets share nothing, so a seed is repeated *within its dataset*, and datasets may have different seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analysis.tables.wording import count, names
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")


@dataclass(frozen=True, eq=False)
class Blocks:
    """One value for each formulation and block.

    * ``table`` ``[F, G]``, columns (dataset, seed); NaN where an entry of a formulation is lost
    * ``weights`` ``[G]``: of the blocks in the printed mean, which is ``table @ weights`` for formulations with every entry
    * ``unknown``: why the noise of seeds is unknown, as a part of a sentence; None where it is known
    """

    table: pd.DataFrame
    weights: NDArray[np.float64]
    unknown: str | None

    @property
    def datasets(self) -> list[str]:
        """Of the blocks."""
        return [str(name) for name in self.table.columns.get_level_values(0)]

    @property
    def seeds(self) -> list[int]:
        """Of the blocks."""
        return [int(seed) for seed in self.table.columns.get_level_values(1)]

    @property
    def counts(self) -> dict[str, int]:
        """How many seeds each dataset has."""
        return {name: self.datasets.count(name) for name in self.datasets}

    def complete(self) -> Blocks:
        """Only the formulations that have every entry: no block is left out, as the printed means are over all."""
        return Blocks(self.table[self.table.notna().all(axis=1)], self.weights, self.unknown)

    def relative(self) -> Blocks:
        """The same with ``log M + y / M - 1`` for ``y``, ``M`` being a formulation's mean: of these the mean is ``log M``,
        and the noise is relative to the level. Means must be positive."""
        values = self.table.to_numpy(dtype=np.float64)
        mean = (values @ self.weights)[:, None]
        table = pd.DataFrame(np.log(mean) + values / mean - 1, self.table.index, self.table.columns)
        return Blocks(table, self.weights, self.unknown)


def seeds_by_dataset(blocks: pd.DataFrame) -> dict[str, int]:
    """How many seeds each dataset of ``blocks`` (columns ``dataset`` and ``seed``) has."""
    return {str(d): int(n) for d, n in blocks.groupby("dataset", observed=True)["seed"].nunique().items()}


def seed_count(counts: Mapping[str, int]) -> str:
    """``3 seeds``, or ``2 to 3 seeds`` where datasets have different numbers."""
    fewest, most = min(counts.values()), max(counts.values())
    return count(most, "seed") if fewest == most else f"{fewest} to {count(most, 'seed')}"


def why_unknown(counts: Mapping[str, int], unlike: list[str]) -> str | None:
    """Why the noise of seeds is unknown: datasets with one seed, or ``unlike`` ones, whose seeds have other settings."""
    if not counts:
        return "there is no value"
    single = [d for d, n in counts.items() if n < 2]
    if len(single) == len(counts) and len(counts) == 1:
        return "one seed"
    if single:
        return f"one seed of {names(single)}"
    if unlike:
        return f"the seeds of {names(unlike)} do not have the same settings"
    return None
