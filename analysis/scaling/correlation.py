"""Whether the validation loss tells how good the pictures are: its correlation with CLIP, FID and composition over runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from samplers.lazy import lazy

from ..association import Array, pearson, spearman
from .noise import Means, interval

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

LEAST = 3
"""Runs, below which a correlation says nothing."""


def table(found: dict[str, Means]) -> pd.DataFrame:
    """One row for each metric, over the means of runs: ``metric``, ``runs``, and ``spearman`` and ``pearson`` (of the
    logarithms) with ``_low`` and ``_high``: percentiles over draws of other seeds, and the value itself, as noise lowers
    the correlation of a draw. Empty with fewer than three runs; Pearson's is NaN if a mean is not positive, and both are NaN
    where one side does not vary."""
    rows: list[dict[str, object]] = []
    loss = found["val_loss"]
    for metric in found:
        if metric == "val_loss" or len(loss.values) < LEAST:
            continue
        other = found[metric]
        row: dict[str, object] = {"metric": metric, "runs": len(loss.values)}
        for name, measure, scale in (
            ("spearman", spearman, np.asarray),
            ("pearson", pearson, np.asarray if other.log else _positive_logs),
        ):
            row[name] = value = float(measure(loss.values, scale(other.values)))
            row[f"{name}_low"], row[f"{name}_high"] = np.nan, np.nan
            if loss.draws is not None and other.draws is not None and np.isfinite(value):
                low, high = interval(measure(loss.draws, scale(other.draws)))
                row[f"{name}_low"], row[f"{name}_high"] = min(low, value), max(high, value)
        rows.append(row)
    ends = [f"{name}{end}" for name in ("spearman", "pearson") for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=["metric", "runs", *ends])


def _positive_logs(values: Array) -> Array:
    return np.log(np.where(values > 0, values, np.nan))
