"""Measures of generated images, one file a metric: its columns, and how their values come about.

`metric` is the contract, `run_metrics` lists the metrics that a run measures, `names` their full recipes, `check_metric`
what every metric must pass. The numbers of `fid` are in `frechet` and `influence`. Plans and analysis read what is declared,
without torch; workers measure.
"""

from bench.metrics.check_metric import check
from bench.metrics.metric import Drawn, Measure, Measured, Metric, Reference, register, registry
from bench.metrics.run_metrics import SHIPPED, columns, measures

__all__ = [
    "SHIPPED",
    "Drawn",
    "Measure",
    "Measured",
    "Metric",
    "Reference",
    "columns",
    "measures",
    "register",
]

registry.check = check
