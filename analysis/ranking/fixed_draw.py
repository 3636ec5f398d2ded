"""What no number of seeds can show: all trainings are measured with one draw of captions and start noise, and another draw
would move the difference of two formulations.

With ``D[b, g]`` such a difference in block g (dataset, seed) under draw b of a paired bootstrap over captions, less its mean
over draws, the part that all seeds share has in a dataset of S seeds the variance

    var_b(mean_s D[b, s]) - mean_b var_s(D[b, s]) / S

as what the samples of single trainings add is averaged away by more seeds. CLIP and FID are redrawn as in
`analysis.ranking.per_sample`, and fronts are those of the redrawn values.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analysis.ranking.score_matrix import Array, Wide
from analysis.runs import cell_contents, schema
from analysis.runs.run import Run
from analysis.stats.pareto import fronts

if TYPE_CHECKING:
    import pandas as pd

DRAWS = 200
SEED = 2403_03206


@dataclass(frozen=True, eq=False)
class FixedDraw:
    """The draw of a ``run`` whose ranked rows are ``table``; files are read when something is asked."""

    run: Run
    table: Wide

    def deviation(self, response: str, log: bool, one: str, other: str) -> float | None:
        """Standard deviation over draws of the difference of two formulations in the mean front (``rank``), ``clip`` or
        ``fid``, over as many seeds as one likes; if ``log`` of its logarithm. None without the values of all samples."""
        pair = [self.table.names.index(name) for name in (one, other)]
        if response not in ("rank", *self.table.objectives):
            return None
        drawn = self._fronts if response == "rank" else self._values[response]
        if drawn is None or np.isnan(drawn[:, self._counted(response)][..., pair]).any():
            return None
        values = drawn[..., pair]
        if log:
            values = values / self.table.means(response)[pair]
        return math.sqrt(self._shared(values[..., 0] - values[..., 1], self._counted(response)))

    def _counted(self, response: str) -> NDArray[np.bool_]:
        return np.asarray(~np.isnan(self.table.metric(response)).all(axis=1))

    def _shared(self, apart: Array, counted: NDArray[np.bool_]) -> float:
        """The variance of a mean of differences ``[B, N]`` that seeds share."""
        total = 0.0
        for _, of_dataset in self._rows(counted).groupby("dataset", observed=True):
            seeds = [
                apart[:, rows.index].mean(axis=1) for _, rows in of_dataset.groupby("seed", observed=True)
            ]
            blocks = np.stack(seeds, axis=1)
            blocks = blocks - blocks.mean(axis=0)
            own = blocks.var(axis=1, ddof=1).mean() / len(seeds) if len(seeds) > 1 else 0.0
            total += (len(of_dataset) / counted.sum()) ** 2 * (blocks.mean(axis=1).var(ddof=1) - own)
        return max(float(total), 0.0)

    def _rows(self, counted: NDArray[np.bool_]) -> pd.DataFrame:
        return self.table.settings.reset_index(drop=True)[counted]

    @functools.cached_property
    def _values(self) -> dict[str, Array | None]:
        return {metric: self._redrawn(metric) for metric in self.table.objectives}

    def _redrawn(self, metric: str) -> Array | None:
        """A metric ``[B, N, F]`` of redrawn captions; None where a value has no samples."""
        table = self.table
        kept, controls = cell_contents.per_sample(self.run, metric), schema.controls(table.settings)
        drawn = np.full((DRAWS, *table.values[metric].shape), np.nan)
        rng = np.random.default_rng(SEED)
        for dataset, of_dataset in table.settings.reset_index(drop=True).groupby("dataset", observed=True):
            entries: list[tuple[int, int]] = []
            samples: list[Array] = []
            for row in of_dataset.index:
                for f, name in enumerate(table.names):
                    if np.isnan(table.values[metric][row, f]):
                        continue
                    found = kept.get((name, str(dataset), int(of_dataset["seed"][row]), controls[row].name))
                    if found is None or (samples and len(found) != len(samples[0])):
                        return None
                    entries.append((row, f))
                    samples.append(found)
            if not entries:
                continue
            rows, columns = np.array(entries).T
            shift = redrawn(np.stack(samples, axis=1), rng, DRAWS)
            drawn[:, rows, columns] = table.values[metric][rows, columns] + shift
        return drawn

    @functools.cached_property
    def _fronts(self) -> Array | None:
        """Front indices ``[B, N, F]`` of redrawn captions."""
        found = [values for values in self._values.values() if values is not None]
        if len(found) < len(self.table.objectives):
            return None
        points = np.stack(found, axis=-1)
        return fronts(
            points, [bool(self.table.metrics[m].higher_is_better) for m in self.table.objectives]
        ).astype(np.float64)


def redrawn(values: Array, rng: np.random.Generator, draws: int) -> Array:
    """``[draws, F]``: by how much means of ``values`` ``[n, F]`` change if the n captions are drawn again."""
    count = len(values)
    weights = rng.multinomial(count, np.full(count, 1 / count), size=draws) / count
    return np.asarray(weights @ (values - values.mean(axis=0)))
