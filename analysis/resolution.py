"""What a run could have told apart: its noise over seeds, the smallest gap that it separates, the seeds a gap needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .best import gap, not_separable, seeds_needed
from .stats import TwoWay


@dataclass(frozen=True)
class Resolution:
    """One response, in its own unit or, if ``log``, in natural logarithms.

    ``sigma`` is the pooled deviation of a formulation's value in one seed, without what all formulations of the seed share,
    with ``df`` degrees of freedom, over ``fewest`` to ``seeds`` seeds of a dataset; ``correlation`` of
    formulations over seeds; ``gap`` the smallest difference from the best
    that is separated (Hsu, family-wise 95 %); ``lead`` the observed difference of the best and the runner-up, ``separated``
    whether that is enough for these two, whose own noise counts, and ``seeds_needed`` how many seeds would separate it at
    the pooled noise, None if more than 1000.
    """

    response: str
    log: bool
    formulations: int
    seeds: int
    fewest: int
    sigma: float
    correlation: float
    df: float
    gap: float
    lead: float
    separated: bool
    seeds_needed: int | None


def resolution(
    model: TwoWay, response: str, log: bool, higher_is_better: bool, counts: Mapping[str, int]
) -> Resolution:
    """The resolution of a fitted response with two formulations or more, over ``counts`` seeds of the datasets."""
    means = model.means if higher_is_better else -model.means
    best, second = np.argsort(-means, kind="stable")[:2]
    lead, variance = float(means[best] - means[second]), float(model.variance)
    return Resolution(
        response,
        log,
        len(model.names),
        max(counts.values()),
        min(counts.values()),
        variance**0.5,
        float(model.correlation),
        float(model.df),
        float(gap(model)),
        lead,
        not bool(not_separable(model, higher_is_better)[second]),
        seeds_needed(lead, variance, len(model.names), datasets=_datasets(model)),
    )


def _datasets(model: TwoWay) -> float:
    """The number of datasets, as far as they contribute to the noise: degrees of freedom for each further seed."""
    return float(model.df) / (len(model.names) - 1) / (model.replicates - 1)
