"""Measures of generated images, one file a metric: its columns, and how their values come about.

``base`` is the contract, `catalogue` lists the metrics that a run measures, `names` their full recipes, `conformance` what
every metric must pass. The numbers of `fid` are in `frechet` and `influence`. Plans and analysis read what is declared,
without torch; workers measure.
"""

from bench.metrics.base import Drawn, Measure, Measured, Metric, Reference, register, registry
from bench.metrics.catalogue import SHIPPED, columns, measures
from bench.metrics.conformance import check

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
