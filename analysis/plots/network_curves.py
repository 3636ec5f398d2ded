"""What networks reach during training: their validation loss, and FID and CLIP score of images by weights of milestones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analysis.plots.subject import Subject
from analysis.plots.training import LOSS
from analysis.runs.timings import pack_of
from bench.config import kept_weights
from bench.config.sampling_settings import FIELDS
from bench.metrics.metric import Metric

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
METRICS = ("fid", "clip")
"""Those of the study's figure, in the order of their rows."""


@dataclass(frozen=True)
class Quantity:
    """What a panel shows: a column, the words at its axis, and whether its means are of logarithms."""

    name: str
    label: str
    log: bool

    @classmethod
    def of(cls, metric: Metric) -> Quantity:
        """A metric's."""
        return cls(metric.name, f"{metric.title}, {metric.direction}", metric.scale == "log")

    def into(self, values: pd.Series[float]) -> pd.Series[float]:
        """The values on the scale of the means; NaN where there are none."""
        if not self.log:
            return values.where(np.isfinite(values))
        return values.where((values > 0) & np.isfinite(values)).map(np.log)

    def back(self, values: Array) -> Array:
        """Means as values."""
        return np.exp(values) if self.log else values


LOSSES = Quantity("val_loss", LOSS, True)


@dataclass(frozen=True, eq=False)
class Curve:
    """What a network reaches after the steps ``[X]`` that all trainings have a value of: the ``mean`` over formulations, on
    the scale of `Quantity.into`, and its standard deviation (``half``) over seeds.

    ``costs`` ``[X]`` of one training up to there, by name: seconds only where they are known, and of the last stage.
    """

    network: str
    mean: Array
    half: Array
    costs: Mapping[str, Array]


def losses(subject: Subject, where: str, network: str, formulations: Sequence[str]) -> Curve | None:
    """The validation losses of a network, whose rows have ``where`` for their data set, over some ``formulations``; None
    without a step at which all of them have a loss in every seed."""
    rows = subject.validations
    rows = rows[(rows["dataset"] == where) & rows["formulation"].isin(list(formulations))]
    rows = rows.assign(value=LOSSES.into(rows["val_loss"])).dropna(subset=["value"])
    means = _means(rows, len(formulations), _seeds(subject, where))
    if means.empty:
        return None
    steps = means.columns.to_numpy(dtype=np.float64)
    known = {
        "steps": steps,
        "operations": _operations(subject, where, steps),
        "seconds": _seconds(subject, rows, steps),
    }
    costs = {name: cost for name, cost in known.items() if np.isfinite(cost).all()}
    return _curve(network, means, costs)


def measured(
    subject: Subject, where: str, loss: Curve, formulations: Sequence[str], quantity: Quantity
) -> Curve | None:
    """A metric of images by EMA weights of milestones, the mean over formulations and sampler settings, of the network and
    with the costs of the curve ``loss``; None without a milestone at which all of them have a value in every seed."""
    rows = subject.run.frame
    early = rows["weights"].str.startswith("ema") & rows["weights"].map(kept_weights.milestone).notna()
    early &= (rows["phase"] == "rank") & (rows["status"] == "done") & (rows["dataset"] == where)
    rows = rows[early & rows["formulation"].isin(list(formulations))]
    if rows.empty or quantity.name not in rows:
        return None
    rows = rows.assign(value=quantity.into(rows[quantity.name]), step=rows["best_step"])
    rows = rows.dropna(subset=["value"]).drop_duplicates(["formulation", "seed", "step", *FIELDS])
    settings = rows[list(FIELDS)].drop_duplicates()
    means = _means(rows, len(formulations) * len(settings), _seeds(subject, where))
    if means.empty:
        return None
    steps = means.columns.to_numpy(dtype=np.float64)
    costs = {"steps": steps, "operations": _operations(subject, where, steps)}
    if "seconds" in loss.costs:
        passed, spent = (np.concatenate([[0.0], loss.costs[name]]) for name in ("steps", "seconds"))
        costs["seconds"] = np.interp(steps, passed, spent)
    return _curve(loss.network, means, costs)


def _seeds(subject: Subject, where: str) -> list[int]:
    """Those that are ranked."""
    return sorted(subject.rows.loc[subject.rows["dataset"] == where, "seed"].unique())


def _means(rows: pd.DataFrame, count: int, seeds: Sequence[int]) -> pd.DataFrame:
    """The mean of ``value`` by seed and step, at the steps at which each of the ``seeds`` has ``count`` of them."""
    groups = rows[rows["seed"].isin(seeds)].groupby(["seed", "step"], observed=True)["value"]
    whole = (groups.size().unstack().reindex(list(seeds)) == count).all(axis=0)
    return groups.mean().unstack().loc[:, whole]


def _curve(network: str, means: pd.DataFrame, costs: Mapping[str, Array]) -> Curve:
    half = means.std(ddof=1) if len(means) > 1 else 0 * means.mean()
    return Curve(network, means.mean().to_numpy(), half.to_numpy(), costs)


def _operations(subject: Subject, where: str, steps: Array) -> Array:
    """Up to each step, with those of earlier stages, by the plan."""
    recipe = next(m.recipes[cell.recipe] for m, cell in subject.run.cells() if cell.dataset == where)
    return np.array([recipe.flops_at(step) for step in steps])


def _seconds(subject: Subject, rows: pd.DataFrame, steps: Array) -> Array:
    """Up to each step, of a training's part of its pack, the mean over trainings; NaN where some are not noted."""
    packs = {cell: pack_of(subject.run, cell) or np.nan for cell in rows["cell"].unique()}
    spent = rows["seconds"] / rows["cell"].map(packs).astype(float)
    means = spent.groupby(rows["step"]).agg(lambda values: values.mean(skipna=False))
    return np.asarray(means.reindex(steps), dtype=np.float64)
