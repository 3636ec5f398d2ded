"""How firm a ranking is: positions, front 1 and the first place under a parametric bootstrap.

Fronts are no smooth function of the measurements, so what noise does to them is found by drawing. A draw is a table whose
true means are as likely as the measured table allows, with seeds that scatter as the measured ones do.

* The settings of one cell share its network. Noise is therefore drawn as one vector over all settings and objectives, with
  the covariance of the measured residual vectors.
* Measured formulations are spread wider than true ones, by their noise. The plain bootstrap, which adds noise to what is
  measured, moves those at the ends too far to the middle. So the measured effects are shrunken first, by the share of
  their spread that noise explains (empirical Bayes: Efron & Morris 1975, JASA 70).

The position intervals cover the true position in 95 % or more of the cases, on average over the formulations; more for few
formulations, as there are few positions to end at. Those of the truly best and worst of many formulations that differ by
less than the noise cover less: no method knows that the extreme ones are extreme. ``python -m analysis.calibrate``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .pareto import fronts
from .stats import CONFIDENCE

LEAST_SPREAD = 1e-3
"""Smallest share of the measured spread that is taken as true: with none at all, there would be no order to draw."""
BLOCK = 50
"""Draws that are in memory at a time."""


@dataclass(frozen=True, eq=False)
class Stability:
    """What B draws say about the ranking of F formulations by mean front; all arrays ``[F]``, ``draws`` ``[B, F]``.

    * ``rank``: mean front over settings and seeds, as measured; ``draws``: the same of every draw
    * ``low``, ``high``: 95 % interval of the position, 1 being the best; formulations of equal mean front all hold all of
      their positions, and the interval contains those of ``rank``
    * ``front_one``: how often the formulation is on front 1 of a setting and seed
    * ``first``: how often it has the best mean front; equals share the place, so that the sum is 1
    * ``agreement``: Kendall's tau-b of a draw's order with the measured one, mean over the draws
    """

    names: tuple[str, ...]
    rank: NDArray[np.float64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    front_one: NDArray[np.float64]
    first: NDArray[np.float64]
    agreement: float
    draws: NDArray[np.float64]


def stability(
    points: Any, names: Sequence[str], maximise: Sequence[bool], *, draws: int = 400, seed: int = 0
) -> Stability:
    """How firm the ranking of ``points`` ``[F, C, S, K]`` is: F formulations, C control settings, S seeds, K objectives.

    Objectives are on the scale of the responses (`analysis.stats`), on which noise is additive; fronts do not depend on it.
    NaN marks what is lost (diverged or failed): it stays lost in every draw and comes last in its setting, and the noise is
    learnt from the other formulations. With ``m_f`` a formulation's mean over seeds, free of the luck that a seed brings to
    all, and ``e`` noise as measured, the draw is

        x_fs = m + w (m_f - m) + sqrt(w) mean_s(e_fs) + sqrt(S / (S - 1)) (e_fs - mean_s(e_fs)),    w = 1 - V / T

    for each objective; V is the variance of a mean over seeds and settings by noise alone, T the measured variance of those
    means over the formulations. The first three terms draw the true mean; the last makes S seeds scatter as seeds do without
    moving that mean.

    Raises ``ValueError`` for shapes that do not fit and for fewer than two seeds or two formulations without a loss.
    """
    y = np.asarray(points, dtype=np.float64)
    if y.ndim != 4 or y.shape[0] != len(names) or y.shape[3] != len(maximise):
        raise ValueError(f"points must be [{len(names)}, C, S, {len(maximise)}], not {list(y.shape)}")
    whole: NDArray[np.bool_] = np.all(np.isfinite(y), axis=(1, 2, 3))
    if y.shape[2] < 2 or whole.sum() < 2:
        raise ValueError(
            f"{y.shape[2]} seeds and {whole.sum()} formulations without a loss: needs two of each"
        )
    rng, sizes = np.random.default_rng(seed), [min(BLOCK, draws - done) for done in range(0, draws, BLOCK)]
    drawn = [fronts(np.moveaxis(_draw(y, whole, n, rng), 1, 3), maximise) for n in sizes]
    means = np.concatenate([d.mean(axis=(1, 2)) for d in drawn])
    rank = fronts(np.moveaxis(y, 0, 2), maximise).mean(axis=(0, 1))
    low, high = positions(means)
    tail = (1 - CONFIDENCE) / 2
    lowest, highest = positions(rank)
    first = means == means.min(axis=1, keepdims=True)
    return Stability(
        names=tuple(names),
        rank=rank,
        low=np.minimum(lowest, np.quantile(low, tail, axis=0, method="lower")),
        high=np.maximum(highest, np.quantile(high, 1 - tail, axis=0, method="higher")),
        front_one=np.concatenate([(d == 1).mean(axis=(1, 2)) for d in drawn]).mean(axis=0),
        first=(first / first.sum(axis=1, keepdims=True)).mean(axis=0),
        agreement=float(_agreement(means, rank).mean()),
        draws=means,
    )


def _draw(
    y: NDArray[np.float64], whole: NDArray[np.bool_], draws: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """``draws`` tables ``[B, F, C, S, K]`` as `stability` describes them."""
    count, settings, seeds, objectives = y.shape
    there = np.isfinite(y)
    by_seed = y[whole].mean(axis=0)
    free = y - by_seed + by_seed.mean(axis=1, keepdims=True)  # of the luck that a seed brings to all
    means = _mean(free, there)[:, :, None]
    centre = means[whole].mean(axis=0)
    residuals = (free - means)[whole]
    df = (int(whole.sum()) - 1) * (seeds - 1)
    # R'R / df is the covariance, and Z R / sqrt(df) has it for a standard normal Z; the triangle of QR has as few rows as
    # R has columns.
    vectors = np.moveaxis(residuals, 2, 1).reshape(-1, settings * objectives)
    root: NDArray[np.float64] = np.asarray(np.linalg.qr(vectors, mode="r")) / math.sqrt(df)
    noise = rng.standard_normal((draws * count * seeds, len(root))) @ root
    noise = np.moveaxis(noise.reshape(draws, count, seeds, settings, objectives), 2, 3)
    weight = _weight(means[whole].mean(axis=(1, 2)), residuals.mean(axis=1))
    shift = _mean(noise, there)[:, :, :, None]
    true = centre + weight * (means - centre) + np.sqrt(weight) * shift
    return np.where(there, true + math.sqrt(seeds / (seeds - 1)) * (noise - shift), np.nan)


def _weight(means: NDArray[np.float64], residuals: NDArray[np.float64]) -> NDArray[np.float64]:
    """``w`` ``[K]`` from the means ``[F, K]`` and the residuals ``[F, S, K]`` of the averages over settings."""
    count, seeds, _ = residuals.shape
    noise = (residuals**2).sum(axis=(0, 1)) / ((count - 1) * (seeds - 1)) / seeds
    spread = means.var(axis=0, ddof=1)
    explained = np.divide(noise, spread, out=np.ones_like(spread), where=spread > 0)
    return np.asarray(np.maximum(1 - explained, LEAST_SPREAD))


def _mean(values: NDArray[np.float64], there: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean ``[..., F, C, K]`` over the seeds of ``values`` ``[..., F, C, S, K]`` that are there; NaN where none is."""
    total, number = np.where(there, values, 0.0).sum(axis=-2), there.sum(axis=-2)
    return np.asarray(total / np.where(number > 0, number, np.nan))


def positions(rank: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last position, from 1, that each ``rank`` ``[..., F]`` shares with its equals; lower ranks come first."""
    ordered = np.sort(rank, axis=-1).reshape(-1, rank.shape[-1])
    rows = rank.reshape(ordered.shape)
    first = [np.searchsorted(o, r, side="left") + 1 for o, r in zip(ordered, rows, strict=True)]
    last = [np.searchsorted(o, r, side="right") for o, r in zip(ordered, rows, strict=True)]
    return np.reshape(first, rank.shape), np.reshape(last, rank.shape)


def _agreement(draws: NDArray[np.float64], rank: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kendall's tau-b ``[B]`` of every draw ``[B, F]`` with ``rank`` ``[F]``; 0 if either has one value only."""
    above = np.triu_indices(len(rank), 1)
    theirs, ours = (np.sign(r[..., above[0]] - r[..., above[1]]) for r in (draws, rank))
    pairs = np.sqrt((theirs != 0).sum(axis=-1) * (ours != 0).sum())
    return np.asarray((theirs * ours).sum(axis=-1) / np.maximum(pairs, 1.0))
