"""A results table as arrays ``[N, F]``: N settings by F formulations, with the fronts of every setting.

The statistics ask of it one value for each formulation and block ``y[f, g]`` (`Wide.blocks`), whose mean is the printed one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.ranking.blocks import Blocks, seeds_by_dataset, why_unknown
from analysis.runs.schema import SETTING
from analysis.stats.pareto import fronts
from bench.metrics.metric import Metric
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

Array = NDArray[np.float64]
FEW, MANY, USUAL_CFG = 5, 50, 5.0


@dataclass(frozen=True, eq=False)
class Wide:
    """``values[metric]`` is NaN where an entry is absent, infinite or not done; ``status`` is why, ``missing`` of
    an entry that the table lacks. ``fronts`` is NaN in settings without any value."""

    names: tuple[str, ...]
    metrics: Mapping[str, Metric]
    settings: pd.DataFrame
    values: dict[str, Array]
    status: NDArray[Any]
    objectives: tuple[str, ...]
    fronts: Array

    @property
    def seed_counts(self) -> dict[str, int]:
        """How many seeds each dataset has."""
        return seeds_by_dataset(self.settings)

    def metric(self, name: str) -> Array:
        """``[N, F]`` of a metric, or of the front index for ``rank``."""
        return self.fronts if name == "rank" else self.values[name]

    def of_training(self, name: str) -> bool:
        """Whether a metric has one value for each training."""
        return name != "rank" and self.metrics[name].level == "training"

    def few(self) -> NDArray[np.bool_]:
        """The settings of the study's 5-step column."""
        return np.asarray(self.settings["steps"] == FEW)

    def many(self) -> NDArray[np.bool_]:
        """The settings of the 50-step column: with the guidance of the 5-step settings, as every number in the
        study's two columns is a multiple of 1/4, so each averages four settings."""
        few = self.few()
        scales = self.settings.loc[few, "cfg"].unique() if few.any() else [USUAL_CFG]
        return np.asarray((self.settings["steps"] == MANY) & self.settings["cfg"].isin(scales))

    def lost(self) -> NDArray[np.bool_]:
        """Entries ``[N, F]`` that lack an objective, in settings in which another has it."""
        absent = np.any([np.isnan(self.values[m]) for m in self.objectives], axis=0)
        return np.asarray(absent & ~np.isnan(self.fronts))

    def means(self, name: str, rows: NDArray[np.bool_] | None = None) -> Array:
        """``[F]``: mean of a metric over settings (or over ``rows`` of them) that have a value, NaN where none has.

        A metric of trainings, such as validation loss, is averaged over datasets and seeds."""
        values = self.metric(name)
        if self.of_training(name):
            return _mean(np.array([_mean(values[part]) for part in self._trainings()]))
        return _mean(values if rows is None else values[rows])

    def _trainings(self) -> list[NDArray[np.bool_]]:
        """The settings of each dataset and seed."""
        number = self.settings.groupby(["dataset", "seed"], observed=True).ngroup().to_numpy()
        return [number == block for block in range(number.max() + 1)]

    def lacking(self, name: str) -> NDArray[np.int64]:
        """``[F]``: in how many settings (of a validation loss trainings) others have a value and a formulation has none."""
        there = ~np.isnan(self.values[name])
        if self.of_training(name):
            there = np.array([there[rows].any(axis=0) for rows in self._trainings()])
        return np.asarray((there.any(axis=1, keepdims=True) & ~there).sum(axis=0))

    def blocks(self, name: str) -> Blocks:
        """A metric by formulation and block, means over the settings in which any formulation has a value: those over which
        `means` is. A metric of trainings is the mean of what their settings have."""
        values, of_training = self.metric(name), self.of_training(name)
        counted = ~np.isnan(values).all(axis=1)
        there: pd.DataFrame = self.settings.iloc[np.flatnonzero(counted)]
        groups = there.groupby(["dataset", "seed"], observed=True)
        sizes, number = groups.size(), groups.ngroup().to_numpy()
        average = _mean if of_training else _whole_mean
        means = [average(values[counted][number == g]) for g in range(len(sizes))]
        table = pd.DataFrame(np.reshape(means, (-1, len(self.names))).T, list(self.names), sizes.index)
        share = sizes.to_numpy(dtype=np.float64) ** (0 if of_training else 1)
        unlike = [] if of_training else _unlike(there)
        return Blocks(table, share / max(share.sum(), 1.0), why_unknown(seeds_by_dataset(there), unlike))


def make(table: pd.DataFrame, metrics: Mapping[str, Metric]) -> Wide:
    """The arrays of checked rows that declare ``metrics``."""
    names = sorted(table["formulation"].unique())
    codes = pd.Categorical(table["formulation"], categories=names).codes
    groups = table.groupby(list(SETTING), observed=True)
    rows = groups.ngroup().to_numpy()
    settings = groups.size().index.to_frame(index=False)
    done = (table["status"] == "done").to_numpy()
    values = {}
    for metric in metrics:
        if metric in table:
            column = table[metric].to_numpy(dtype=np.float64)
            kept = np.full((len(settings), len(names)), np.nan)
            kept[rows, codes] = np.where(done & np.isfinite(column), column, np.nan)
            values[metric] = kept
    status = np.full((len(settings), len(names)), "missing", dtype=object)
    status[rows, codes] = table["status"].to_numpy(dtype=object)
    objectives = tuple(m for m in ("clip", "fid") if np.isfinite(values[m]).any()) or ("clip", "fid")
    found = ranked(values, [metrics[m] for m in objectives])
    absent = np.any([np.isnan(values[m]) for m in objectives], axis=0)
    status[(status == "done") & absent] = "missing"
    return Wide(tuple(names), metrics, settings, values, status, objectives, found)


def ranked(values: dict[str, Array], metrics: Sequence[Metric]) -> Array:
    """Front indices ``[N, F]`` by some metrics; NaN in settings in which no formulation has them all."""
    points = np.stack([values[m.name] for m in metrics], axis=-1)
    index = fronts(points, [bool(m.higher_is_better) for m in metrics]).astype(np.float64)
    index[np.isnan(points).any(axis=-1).all(axis=-1)] = np.nan
    return index


def _unlike(settings: pd.DataFrame) -> list[str]:
    """The datasets whose seeds do not have the same settings."""
    rest = [c for c in SETTING if c not in ("dataset", "seed")]
    seeds = settings.groupby("dataset", observed=True)["seed"].nunique()
    each = settings.groupby(["dataset", *rest], observed=True).size().groupby("dataset", observed=True).min()
    return [str(d) for d in seeds.index if each[d] < seeds[d]]


def _whole_mean(values: Array) -> Array:
    return np.asarray(values.mean(axis=0))


def _mean(values: Array) -> Array:
    """Mean over the first axis of what is not NaN."""
    counted = ~np.isnan(values)
    count = counted.sum(axis=0)
    total = np.where(counted, values, 0.0).sum(axis=0)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
