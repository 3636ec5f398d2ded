"""A results table as arrays ``[N, F]``: N settings by F formulations, with the fronts of every setting.

The statistics ask of it one value for each formulation and seed, ``y[f, s]``: the mean over the control settings that all
seeds have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samplers.lazy import lazy

from .pareto import fronts
from .schema import CONTROL, HIGHER_IS_BETTER, METRICS, SETTING

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

Array = NDArray[np.float64]
FEW, MANY, USUAL_CFG = 5, 50, 5.0


@dataclass(frozen=True, eq=False)
class Wide:
    """``values[metric]`` is NaN where an entry is absent, infinite or not done; ``status`` says why, ``missing`` of
    an entry that the table lacks. ``fronts`` is NaN in settings in which nobody has a value."""

    names: tuple[str, ...]
    settings: pd.DataFrame
    values: dict[str, Array]
    status: NDArray[Any]
    objectives: tuple[str, ...]
    fronts: Array

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, in order."""
        return tuple(int(s) for s in sorted(self.settings["seed"].unique()))

    def metric(self, name: str) -> Array:
        """``[N, F]`` of a metric, or of the front index for ``rank``."""
        return self.fronts if name == "rank" else self.values[name]

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
        """Entries ``[N, F]`` that lack an objective, in settings in which somebody has one."""
        absent = np.any([np.isnan(self.values[m]) for m in self.objectives], axis=0)
        return np.asarray(absent & ~np.isnan(self.fronts))

    def means(self, name: str, rows: NDArray[np.bool_] | None = None) -> Array:
        """``[F]``: mean of a metric over settings (or over ``rows`` of them) that have a value, NaN where none has.

        A validation loss belongs to a training, so it is averaged over datasets and seeds."""
        values = self.metric(name) if rows is None else self.metric(name)[rows]
        if name == "val_loss":
            index = self.settings if rows is None else self.settings[rows]
            values = _grouped(values, index.groupby(["dataset", "seed"], observed=True).ngroup().to_numpy())
        return _mean(values)

    def controls(self) -> tuple[pd.DataFrame, NDArray[np.int64]]:
        """The control settings that every seed has, and where they are: rows of ``settings`` as ``[C, S]``."""
        place = self.settings.assign(row=np.arange(len(self.settings)))
        grid = place.pivot_table(index=list(CONTROL), columns="seed", values="row", observed=True).dropna()
        return grid.index.to_frame(index=False), grid.to_numpy(dtype=np.int64)

    def by_seed(self, name: str, log: bool = False) -> pd.DataFrame:
        """``y[f, s]`` of a metric over the control settings that every seed has; NaN where one of them is lost.
        Logarithms are taken of each value (NaN where it is not positive); control settings in which nobody has a
        value do not count."""
        _, rows = self.controls()
        values = self.metric(name)[rows]  # [C, S, F]
        values = values[~np.isnan(values).all(axis=(1, 2))]
        if log:
            values = np.log(np.where(values > 0, values, np.nan))
        table = values.mean(axis=0).T if len(values) else np.full((len(self.names), len(self.seeds)), np.nan)
        return pd.DataFrame(table, index=list(self.names), columns=list(self.seeds))

    def by_block(self, name: str) -> pd.DataFrame:
        """Means of a metric by formulation and (dataset, seed), NaN where an entry is lost: the pairs of a win rate."""
        groups = self.settings.groupby(["dataset", "seed"], observed=True).ngroup().to_numpy()
        blocks = [self.metric(name)[groups == g].mean(axis=0) for g in range(groups.max() + 1)]
        return pd.DataFrame(np.array(blocks).T, index=list(self.names))


def make(table: pd.DataFrame) -> Wide:
    """The arrays of a checked table."""
    names = sorted(table["formulation"].unique())
    codes = pd.Categorical(table["formulation"], categories=names).codes
    groups = table.groupby(list(SETTING), observed=True)
    rows = groups.ngroup().to_numpy()
    settings = groups.size().index.to_frame(index=False)
    done = (table["status"] == "done").to_numpy()
    values = {}
    for metric in METRICS:
        if metric in table:
            column = table[metric].to_numpy(dtype=np.float64)
            kept = np.full((len(settings), len(names)), np.nan)
            kept[rows, codes] = np.where(done & np.isfinite(column), column, np.nan)
            values[metric] = kept
    status = np.full((len(settings), len(names)), "missing", dtype=object)
    status[rows, codes] = table["status"].to_numpy(dtype=object)
    objectives = tuple(m for m in ("clip", "fid") if np.isfinite(values[m]).any()) or ("clip", "fid")
    found = ranked(values, objectives)
    absent = np.any([np.isnan(values[m]) for m in objectives], axis=0)
    status[(status == "done") & absent] = "missing"
    return Wide(tuple(names), settings, values, status, objectives, found)


def ranked(values: dict[str, Array], metrics: tuple[str, ...]) -> Array:
    """Front indices ``[N, F]`` by some metrics; NaN in settings in which nobody has them all."""
    points = np.stack([values[m] for m in metrics], axis=-1)
    index = fronts(points, [HIGHER_IS_BETTER[m] for m in metrics]).astype(np.float64)
    index[np.isnan(points).any(axis=-1).all(axis=-1)] = np.nan
    return index


def _grouped(values: Array, groups: NDArray[Any]) -> Array:
    return np.array([_mean(values[groups == g]) for g in np.unique(groups)])


def _mean(values: Array) -> Array:
    """Mean over the first axis of what is not NaN."""
    counted = ~np.isnan(values)
    count = counted.sum(axis=0)
    total = np.where(counted, values, 0.0).sum(axis=0)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
