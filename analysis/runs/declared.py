"""The metrics that a run declares, which of them are compared, and with how many decimals one is shown."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bench.metrics.metric import Metric
from bench.runfolder.manifest import Manifest
from flowbench._core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

COMPARED = ("clip", "fid", "val_loss")
"""The metrics by which formulations are also ranked alone, compared between seeds, and confirmed."""


def metrics_of(plan: Manifest) -> tuple[Metric, ...]:
    """The metrics that a run declares. Raises `UserError` for other declarations."""
    try:
        return tuple(map(Metric.read, plan.metrics))
    except TypeError as error:
        raise UserError(
            f"a plan declares its metrics as another version of flowbench ({error}): run the same command again"
        ) from None


def full_names(rows: pd.DataFrame, metrics: Iterable[str]) -> dict[str, dict[str, str]]:
    """The full names of the metrics that have one, by metric and dataset."""
    found: dict[str, dict[str, str]] = {}
    for metric in metrics:
        if (column := f"{metric}_name") in rows:
            first = rows.dropna(subset=[column]).groupby("dataset", observed=True)[column].first()
            found[metric] = {str(dataset): str(name) for dataset, name in first.items()}
    return {metric: names for metric, names in found.items() if names}


def decimals(values: pd.Series[Any], significant: int) -> int:
    """Decimals that give the median value so many digits, from 1 to 6."""
    middle = float(values.abs().median())
    if not math.isfinite(middle) or middle == 0:
        return 2
    return min(6, max(1, significant - 1 - math.floor(math.log10(middle))))
