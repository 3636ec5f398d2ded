"""The metrics that a table or ranking declares: those of its run, or else those shipped (`bench.metrics.catalogue`)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bench.metrics.base import Metric
from bench.metrics.catalogue import columns

if TYPE_CHECKING:
    import pandas as pd

KEPT = "metrics"
"""The entry of ``attrs`` of a table or ranking, as JSON-able values."""

COMPARED = ("clip", "fid", "val_loss")
"""The metrics by which formulations are also ranked alone, compared between seeds, and confirmed."""


def of(table: pd.DataFrame) -> dict[str, Metric]:
    """The metrics of a results table or ranking by name, in the order in which they are shown."""
    return among(table.attrs)  # type: ignore[arg-type]


def among(about: Mapping[str, Any]) -> dict[str, Metric]:
    """`of` for a table's ``attrs``."""
    kept = about.get(KEPT)
    found = columns() if kept is None else [Metric.read(m) for m in kept]
    return {metric.name: metric for metric in found}


def kept(metrics: Iterable[Metric]) -> list[dict[str, Any]]:
    """What ``attrs`` keep of metrics."""
    return [asdict(metric) for metric in metrics]


def decimals(values: pd.Series[Any], significant: int) -> int:
    """Decimals that give the median value so many digits, from 1 to 6."""
    middle = float(values.abs().median())
    if not math.isfinite(middle) or middle == 0:
        return 2
    return min(6, max(1, significant - 1 - math.floor(math.log10(middle))))
