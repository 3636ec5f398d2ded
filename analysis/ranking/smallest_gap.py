"""What a run can separate: its noise over seeds, the smallest gap that it separates, the seeds a gap needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.ranking.fixed_draw import FixedDraw
from analysis.stats.best import critical, gap, not_separable, seeds_needed
from analysis.stats.sequential import MOST_SEEDS
from analysis.stats.two_way import TwoWay

REACH = 10
"""So many times the seeds at hand are advised at most; a difference that needs more may as well be none."""


@dataclass(frozen=True)
class Response:
    """What is compared; ``log``: its noise grows with its level, so the model is of the mean's logarithm."""

    name: str
    log: bool
    higher_is_better: bool

    @property
    def column(self) -> str:
        """Its column in a ranking."""
        return "rank_all" if self.name == "rank" else self.name


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


def out_of_reach(needed: int | None, seeds: int, which: str) -> str | None:
    """``they may be equal, as about 598 seeds would be needed``; None for a number that is within `REACH` of the ``seeds``
    at hand. ``which`` are the formulations, and ``needed`` is None above `MOST_SEEDS`."""
    if needed is not None and needed <= REACH * seeds:
        return None
    many = f"more than {MOST_SEEDS:,}" if needed is None else f"about {needed:,}"
    return f"{which} may be equal, as {many} seeds would be needed"


def resolution(
    model: TwoWay, response: Response, counts: Mapping[str, int], fixed: FixedDraw | None = None
) -> Resolution:
    """The resolution of a fitted response with two formulations or more, over ``counts`` seeds of the datasets."""
    rising, names = response.higher_is_better, model.names
    means = model.means if rising else -model.means
    best, second = np.argsort(-means, kind="stable")[:2]
    separated, draw = not bool(not_separable(model, rising, response.log)[second]), None
    if fixed is not None and not separated:
        deviation = fixed.deviation(response.name, response.log, names[best], names[second])
        draw = None if deviation is None else critical(len(names), math.inf) * deviation
    lead, variance = float(means[best] - means[second]), float(model.variance)
    datasets = float(model.df) / (len(names) - 1) / (model.replicates - 1)  # as far as they add to the noise
    within = draw is not None and lead <= draw
    low, high = model.correlation_interval()
    return Resolution(
        response=response.name,
        log=response.log,
        formulations=len(names),
        seeds=max(counts.values()),
        fewest=min(counts.values()),
        sigma=variance**0.5,
        correlation=float(model.correlation),
        correlation_low=float(low),
        correlation_high=float(high),
        df=float(model.df),
        gap=float(gap(model)),
        lead=lead,
        separated=separated,
        draw=draw,
        seeds_needed=None if within else seeds_needed(lead, variance, len(names), datasets=datasets),
    )
