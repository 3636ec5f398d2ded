"""The smallest difference between two formulations that a run can tell from the luck of its seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .schema import SETTING

if TYPE_CHECKING:
    import pandas as pd

METRICS = {"clip": False, "fid": True, "val_loss": True}
"""Metrics with a resolution, and whether their logarithm is taken (their noise grows with their level)."""


@dataclass(frozen=True)
class Resolution:
    """Noise of one metric over seeds, in its own unit or, if ``log``, in natural logarithms.

    ``sd`` is the pooled deviation over seeds of a formulation's mean over settings, ``paired_sd`` what is
    left of it when all formulations share a seed's luck, ``gap`` the smallest separable difference of two
    formulations.
    """

    metric: str
    log: bool
    sd: float
    paired_sd: float
    gap: float
    formulations: int
    seeds: int


def resolution(frame: pd.DataFrame, metric: str) -> Resolution | None:
    """Pooled seed noise of ``metric`` and the smallest gap that a paired t test separates at 95 %.

    With ``y_fs`` the mean over settings of formulation ``f`` and seed ``s`` (``F`` and ``S`` of them), the
    model ``y_fs = m + a_f + b_s + e_fs`` has the residual variance ``v`` with ``(F-1)(S-1)`` degrees of
    freedom, and

        gap = t_{0.975, (F-1)(S-1)} sqrt(2 v / S)

    for one pair that was chosen beforehand. Pooling assumes one noise level for all formulations.
    Formulations with a value in every setting of every seed, positive where the logarithm is taken, take
    part; None if they or the seeds are fewer than two. ``frame`` is a checked table whose lost entries are
    NaN.
    """
    log = METRICS[metric]
    if metric not in frame:
        return None
    wide = frame.set_index(["formulation", *SETTING])[metric].unstack(list(SETTING))
    wide = wide.loc[:, wide.notna().any()]
    other = [name for name in SETTING if name != "seed"]
    seeds_of = wide.columns.to_frame(index=False).groupby(other)["seed"].transform("size")
    wide = wide.loc[:, (seeds_of == seeds_of.max()).to_numpy()]  # the same settings in every seed
    values = wide[np.isfinite(wide).all(axis=1)]
    if log:
        values = np.log(values[(values > 0).all(axis=1)])
    table = values.T.groupby(level="seed").mean().T.to_numpy()
    if min(table.shape) < 2:
        return None
    (count, seeds), centred = table.shape, table - table.mean(axis=1, keepdims=True)
    residual = centred - centred.mean(axis=0, keepdims=True)
    freedom = (count - 1) * (seeds - 1)
    sd = math.sqrt((centred**2).sum() / (count * (seeds - 1)))
    paired = math.sqrt((residual**2).sum() / freedom)
    return Resolution(metric, log, sd, paired, _t975(freedom) * paired * math.sqrt(2 / seeds), count, seeds)


def _t975(freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))
