"""The lowest loss at each compute, and the depth that reaches it.

Between two runs of a depth, which differ in their training steps, the loss is a straight line in logarithms; nothing is
extrapolated.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analysis.scaling.noise import Means
from analysis.scaling.scaling_runs import Runs
from analysis.stats.association import Array
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")


def reached(
    at: Array, depth: NDArray[np.int64], compute: Array, logs: Array
) -> tuple[NDArray[np.int64], Array]:
    """The depths ``[D]``, and the log loss ``[..., D, n]`` that each reaches at the compute ``at`` ``[n]``: interpolated
    between its runs with ``compute`` ``[R]`` and log loss ``logs`` ``[..., R]``, NaN outside of them."""
    depths, x = np.unique(depth), np.log(at)
    found = np.full((*logs.shape[:-1], len(depths), len(at)), np.nan)
    for i, value in enumerate(depths):
        runs = np.flatnonzero(depth == value)
        runs = runs[np.argsort(compute[runs], kind="stable")]
        own, y = np.log(compute[runs]), logs[..., runs]
        inside = (x >= own[0]) & (x <= own[-1])
        right = np.searchsorted(own, x[inside]).clip(min(1, len(own) - 1), len(own) - 1)
        left = np.maximum(right - 1, 0)
        width = np.where(right > left, own[right] - own[left], 1.0)
        part = (x[inside] - own[left]) / width
        found[..., i, inside] = (1 - part) * y[..., left] + part * y[..., right]
    return depths, found


def on_frontier(depth: NDArray[np.int64], compute: Array, logs: Array) -> NDArray[np.bool_]:
    """``[..., R]``: the runs than which no other depth reaches less at their compute, and no cheaper run at all."""
    _, there = reached(compute, depth, compute, logs)
    lowest = np.where(np.isnan(there), np.inf, there).min(axis=-2)
    cheaper = compute[:, None] < compute
    beaten = (cheaper & (logs[..., :, None] <= logs[..., None, :])).any(axis=-2)
    return np.asarray((logs <= lowest + 1e-12) & ~beaten)


def optimal(runs: Runs, loss: Means) -> pd.DataFrame:
    """The depth of the lowest loss at round numbers of operations that two depths or more reach.

    Columns: ``train_flops``, ``depth``, ``val_loss``; ``frequency``: the fraction of draws in which this depth is the best;
    ``rival``: the other depth that is best most often, and ``rival_frequency``; ``compared``: how many depths reach that
    compute; ``bound``: whether the best is the shallowest of these although there are shallower ones, which do not
    reach that compute, so that the depth is an upper bound of the best one. Frequencies are NaN without draws, and the
    rival where no draw has another best. Empty if depths do not overlap.
    """
    at = round_numbers(runs.compute.min(), runs.compute.max())
    depths, there = reached(at, runs.depth, runs.compute, loss.values)
    compared = np.isfinite(there).sum(axis=0)
    kept = compared >= 2
    at, there, compared = at[kept], there[:, kept], compared[kept]
    frame = pd.DataFrame({"train_flops": at})
    best = np.where(np.isnan(there), np.inf, there).argmin(axis=0)
    frame["depth"] = depths[best]
    frame["val_loss"] = np.exp(there[best, np.arange(len(at))])
    frame[["frequency", "rival", "rival_frequency"]] = np.nan
    if loss.draws is not None:
        drawn = reached(at, runs.depth, runs.compute, loss.draws)[1]
        winner = np.where(np.isnan(drawn), np.inf, drawn).argmin(axis=-2)
        shares = (winner[..., None] == np.arange(len(depths))).mean(axis=0)  # [n, D]
        rows = np.arange(len(at))
        frame["frequency"] = shares[rows, best]
        shares[rows, best] = 0.0
        rival = shares.argmax(axis=1)
        frame["rival_frequency"] = shares[rows, rival]
        frame["rival"] = np.where(shares[rows, rival] > 0, depths[rival].astype(np.float64), np.nan)
    frame["compared"] = compared
    frame["bound"] = (best == np.isfinite(there).argmax(axis=0)) & (best > 0)
    return frame


def round_numbers(low: float, high: float) -> Array:
    """1, 1.5, 2, 3, 5 and 7 times the powers of ten, in [low, high]."""
    powers = np.arange(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = np.array([float(f"{step}e{power}") for power in powers for step in (1, 1.5, 2, 3, 5, 7)])
    return found[(found >= low) & (found <= high)]
