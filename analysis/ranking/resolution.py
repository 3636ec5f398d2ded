"""What a run can separate: its noise over seeds, the smallest gap that it separates, the seeds a gap needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.ranking.fixed_draw import FixedDraw
from analysis.stats.best import critical, gap, not_separable, seeds_needed
from analysis.stats.two_way import TwoWay


@dataclass(frozen=True)
class Resolution:
    """One response, in its own unit or, if ``log``, in natural logarithms.

    * ``sigma``: pooled deviation of a formulation's value in one seed, without what all formulations of the seed share, with
      ``df`` degrees of freedom, over ``fewest`` to ``seeds`` seeds of a dataset
    * ``correlation`` of formulations over seeds, and ``correlation_low`` and ``correlation_high`` of its 95 % interval
    * ``gap``: the smallest difference from the best that is separated (Hsu, family-wise 95 %)
    * ``lead``: the observed difference of the best and the runner-up; ``separated``: whether that is enough for these two,
      whose own noise counts
    * ``draw``: the smallest lead that any number of seeds separates, as all share one draw of captions and noise
      (`analysis.ranking.fixed_draw`); None where that is not known, or where the lead is separated
    * ``seeds_needed``: how many seeds would separate the lead at the pooled noise; None if more than 1000, or if the lead
      is not above ``draw``
    """

    response: str
    log: bool
    formulations: int
    seeds: int
    fewest: int
    sigma: float
    correlation: float
    correlation_low: float
    correlation_high: float
    df: float
    gap: float
    lead: float
    separated: bool
    draw: float | None
    seeds_needed: int | None

    @property
    def beyond_seeds(self) -> bool:
        """Whether no number of seeds separates the two best, as they share one draw of captions and noise."""
        return self.draw is not None and self.lead <= self.draw


def resolution(
    model: TwoWay,
    response: str,
    log: bool,
    higher_is_better: bool,
    counts: Mapping[str, int],
    fixed: FixedDraw | None = None,
) -> Resolution:
    """The resolution of a fitted response with two formulations or more, over ``counts`` seeds of the datasets."""
    means = model.means if higher_is_better else -model.means
    best, second = np.argsort(-means, kind="stable")[:2]
    separated, draw = not bool(not_separable(model, higher_is_better, log)[second]), None
    if fixed is not None and not separated:
        deviation = fixed.deviation(response, log, model.names[best], model.names[second])
        draw = None if deviation is None else critical(len(model.names), math.inf) * deviation
    lead, variance = float(means[best] - means[second]), float(model.variance)
    low, high = model.correlation_interval()
    return Resolution(
        response,
        log,
        len(model.names),
        max(counts.values()),
        min(counts.values()),
        variance**0.5,
        float(model.correlation),
        float(low),
        float(high),
        float(model.df),
        float(gap(model)),
        lead,
        separated,
        draw,
        None
        if draw is not None and lead <= draw
        else seeds_needed(lead, variance, len(model.names), datasets=_datasets(model)),
    )


def _datasets(model: TwoWay) -> float:
    """The number of datasets, as far as they contribute to the noise: degrees of freedom for each further seed."""
    return float(model.df) / (len(model.names) - 1) / (model.replicates - 1)
