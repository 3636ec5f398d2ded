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
less than the noise cover less: no method corrects for the choice of the extreme ones. ``python -m analysis.calibrate``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.stats.association import kendall
from analysis.stats.pareto import fronts
from analysis.stats.two_way import CONFIDENCE

LEAST_SPREAD = 1e-3
"""Smallest share of the measured spread that is taken as true: with none at all, there would be no order to draw."""
DRAWS = 400
BLOCK = 50
"""Draws that are in memory at a time."""


@dataclass(frozen=True, eq=False)
class Stability:
    """What B draws show about the ranking of F formulations by mean front; all arrays ``[F]``, ``draws`` ``[B, F]``.

    * ``draws``: mean front over settings and seeds of every draw
    * ``low``, ``high``: 95 % interval of the position, 1 being the best; formulations of equal mean front all hold all of
      their positions, and the interval contains those of the measured ``rank``
    * ``front_one``: how often the formulation is on front 1 of a setting and seed
    * ``first``: how often it has the best mean front; equals share the place, so that the sum is 1
    * ``agreement``: Kendall's tau-b of a draw's order with the measured one, mean over the draws, or 0 where that is less:
      where noise explains all that formulations differ by, the draws scatter around 0
    """

    names: tuple[str, ...]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    front_one: NDArray[np.float64]
    first: NDArray[np.float64]
    agreement: float
    draws: NDArray[np.float64]


def stability(
    points: Sequence[Any],
    names: Sequence[str],
    maximise: Sequence[bool],
    rank: NDArray[np.float64],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Stability:
    """How firm the ranking by ``rank`` ``[F]`` is, the mean front over all of ``points``: one array ``[F, C, S, K]``
    for each dataset, of F formulations, C control settings, S seeds and K objectives.

    Objectives are on the scale of the responses (`analysis.stats.two_way`), on which noise is additive; fronts do
    not depend on it.
    NaN marks what is lost (diverged or failed): it stays lost in every draw and comes last in its setting, and the noise is
    learnt from the other formulations. With ``m_f`` a formulation's mean over seeds, free of the luck that a seed brings to
    all, and ``e`` noise as measured, the draw of a dataset is

        x_fs = m + w (m_f - m) + sqrt(w) mean_s(e_fs) + sqrt(S / (S - 1)) (e_fs - mean_s(e_fs)),    w = 1 - V / T

    for each objective; V is the variance of a mean over seeds, settings and datasets by noise alone, T the measured variance
    of those means over the formulations. The first three terms draw the true mean; the last makes S seeds scatter as seeds
    do without moving that mean.

    Raises ``ValueError`` for shapes that do not fit and for fewer than two seeds or two formulations without a loss.
    """
    parts = [np.asarray(part, dtype=np.float64) for part in points]
    for y in parts:
        if y.ndim != 4 or y.shape[0] != len(names) or y.shape[3] != len(maximise):
            raise ValueError(f"points must be [{len(names)}, C, S, {len(maximise)}], not {list(y.shape)}")
    whole: NDArray[np.bool_] = np.all([np.isfinite(y).all(axis=(1, 2, 3)) for y in parts], axis=0)
    seeds = min(y.shape[2] for y in parts)
    if seeds < 2 or whole.sum() < 2:
        raise ValueError(f"{seeds} seeds and {whole.sum()} formulations without a loss: needs two of each")
    worlds = [_World(y, whole) for y in parts]
    weight, rng = _weight(worlds), np.random.default_rng(seed)
    means, front_one, size = [], np.zeros(len(names)), sum(w.size for w in worlds)
    for done in range(0, draws, BLOCK):
        number = min(BLOCK, draws - done)
        total = np.zeros((number, len(names)))
        for world in worlds:
            drawn = fronts(np.moveaxis(world.draw(weight, number, rng), 1, 3), maximise)
            total += drawn.sum(axis=(1, 2))
            front_one += (drawn == 1).sum(axis=(0, 1, 2)) / (size * draws)
        means.append(total / size)
    found = np.concatenate(means)
    low, high = positions(found)
    tail = (1 - CONFIDENCE) / 2
    lowest, highest = positions(rank)
    first = found == found.min(axis=1, keepdims=True)
    return Stability(
        names=tuple(names),
        low=np.minimum(lowest, np.quantile(low, tail, axis=0, method="lower")),
        high=np.maximum(highest, np.quantile(high, 1 - tail, axis=0, method="higher")),
        front_one=front_one,
        first=(first / first.sum(axis=1, keepdims=True)).mean(axis=0),
        agreement=max(0.0, float(np.nan_to_num(kendall(found, rank)).mean())),
        draws=found,
    )


class _World:
    """What tables ``y`` ``[F, C, S, K]`` of a dataset are drawn from."""

    def __init__(self, y: NDArray[np.float64], whole: NDArray[np.bool_]) -> None:
        self.shape, self.there = y.shape, np.isfinite(y)
        settings, seeds, objectives = y.shape[1:]
        self.size = settings * seeds
        by_seed = y[whole].mean(axis=0)
        free = y - by_seed + by_seed.mean(axis=1, keepdims=True)  # of the luck that a seed brings to all
        self.means = _mean(free, self.there)[:, :, None]
        self.centre = self.means[whole].mean(axis=0)
        self.averages = self.means[whole].mean(axis=(1, 2))  # [F, K]
        residuals = (free - self.means)[whole]
        df = (int(whole.sum()) - 1) * (seeds - 1)
        self.noise = (residuals.mean(axis=1) ** 2).sum(axis=(0, 1)) / df / seeds  # [K], of such an average
        # R'R / df is the covariance, and Z R / sqrt(df) has it for a standard normal Z; the triangle of QR has as few rows
        # as R has columns.
        vectors = np.moveaxis(residuals, 2, 1).reshape(-1, settings * objectives)
        self.root: NDArray[np.float64] = np.asarray(np.linalg.qr(vectors, mode="r")) / math.sqrt(df)

    def draw(self, weight: NDArray[np.float64], draws: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """``draws`` tables ``[B, F, C, S, K]`` as `stability` describes them."""
        count, settings, seeds, objectives = self.shape
        noise = rng.standard_normal((draws * count * seeds, len(self.root))) @ self.root
        noise = np.moveaxis(noise.reshape(draws, count, seeds, settings, objectives), 2, 3)
        shift = _mean(noise, self.there)[:, :, :, None]
        true = self.centre + weight * (self.means - self.centre) + np.sqrt(weight) * shift
        return np.where(self.there, true + math.sqrt(seeds / (seeds - 1)) * (noise - shift), np.nan)


def _weight(worlds: Sequence[_World]) -> NDArray[np.float64]:
    """``w`` ``[K]`` of the means over all datasets, each with as much weight as it has settings and seeds."""
    share = np.array([w.size for w in worlds]) / sum(w.size for w in worlds)
    noise = sum(s**2 * w.noise for s, w in zip(share, worlds, strict=True))
    spread = np.var(sum(s * w.averages for s, w in zip(share, worlds, strict=True)), axis=0, ddof=1)
    explained = np.divide(noise, spread, out=np.ones_like(spread), where=spread > 0)
    return np.asarray(np.maximum(1 - explained, LEAST_SPREAD))


def _mean(values: NDArray[np.float64], there: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean ``[..., F, C, K]`` over the seeds of ``values`` ``[..., F, C, S, K]`` that are there; NaN where none is."""
    total, number = np.where(there, values, 0.0).sum(axis=-2), there.sum(axis=-2)
    return np.asarray(total / np.where(number > 0, number, np.nan))


def positions(rank: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last position, from 1, that each ``rank`` ``[..., F]`` shares with its equals; lower ranks come first."""
    from scipy.stats import rankdata

    first, last = (rankdata(rank, method, axis=-1).astype(np.int64) for method in ("min", "max"))
    return first, last
