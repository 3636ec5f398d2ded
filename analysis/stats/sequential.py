"""A paired difference that may be looked at after every seed: a confidence sequence, its e-value, and a verdict.

Differences ``d_1 .. d_n`` of two formulations, one a seed, are taken as normal with mean ``mu`` and standard deviation
``sigma``. With the effect size ``mu / sigma ~ N(0, g)`` and the right-Haar prior ``1 / sigma``, the Bayes factor against
``mu = mu0`` is

    E_n(mu0) = (1 + n g)^(-1/2) [(Q + n m^2) / (Q + n m^2 / (1 + n g))]^(n/2)

where ``m`` is the mean of ``d - mu0`` and ``Q`` the sum of squared deviations from the mean (Gonen, Johnson, Lu & Westfall
2005, Am. Stat. 59(3)). If ``mu = mu0``, then for every ``sigma``

    P(E_n(mu0) >= 1 / level at any n) <= level

(Hendriksen, de Heide & Grunwald 2021, Bayesian Anal. 16(3); Wang & Ramdas 2023, arXiv 2310.03722): it may be looked at
after every seed, and one may stop whenever it is large. So the means with ``E_n < 1 / level`` are an interval that holds
the truth *at all looks* with probability ``1 - level``. For k rivals a caller passes ``level / k`` (union bound).

Seeds whose differences are all equal have ``Q = 0``. `e_value` then has the limit of the formula,
``(1 + n g)^((n-1)/2)``, its largest value at n: equal differences of 4 seeds are as clear as 4 seeds can be. If they are
equal to ``mu0`` itself, the data hold nothing against it, and the limit of small means, ``(1 + n g)^(-1/2)``, stands.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

EFFECT_VARIANCE = 2.0
"""``g``: differences of about 1.4 standard deviations are expected. It changes how soon a difference is found (effects of
1 to 3 deviations within a seed of the best choice for each), never how often a false one is."""
LEVEL = 0.05
MOST_SEEDS = 1000
"""No more seeds than these are forecast."""

Decision = Literal["higher", "lower", "equivalent", "undecided"]


@dataclass(frozen=True)
class Interval:
    """The mean difference and the ends of its interval, infinite while the seeds are too few for any."""

    estimate: float
    low: float
    high: float


def e_value(differences: Sequence[float], null: float = 0.0, g: float = EFFECT_VARIANCE) -> float:
    """Evidence against the mean difference ``null``, valid at any look: ``E_n(null)``, 1 for fewer than two seeds.

    Infinite beyond the range of a float. Raises ``ValueError`` for differences that are not finite and for ``g`` <= 0.
    """
    values = _checked(differences, g) - null
    if len(values) < 2:
        return 1.0
    _, mean, squares = _summary(_scaled(values))
    with np.errstate(over="ignore"):
        return float(np.exp(log_e_value(len(values), mean, squares, g)))


def interval(differences: Sequence[float], level: float = LEVEL, g: float = EFFECT_VARIANCE) -> Interval:
    """The means that `e_value` does not refute at ``1 / level``: with probability ``1 - level`` they include the true mean
    at all looks together.

    The estimate is NaN without seeds. Raises ``ValueError`` for differences that are not finite, ``g`` <= 0 and a ``level``
    outside (0, 1).
    """
    n, mean, squares = _summary(_checked(differences, g, level))
    margin = float(half_width(n, squares, level, g)) if n else math.inf
    return Interval(mean, mean - margin if n else -math.inf, mean + margin if n else math.inf)


def positive_probability(differences: Sequence[float], g: float = EFFECT_VARIANCE) -> float:
    """Posterior probability of a positive mean under the same prior: 1/2 without seeds or evidence.

    Given ``sigma``, the mean has the posterior ``N(k m, k sigma^2 / n)`` with ``k = n g / (1 + n g)``; integrated over
    ``sigma``, Student's t with n degrees of freedom, the location ``k m`` and the squared scale
    ``(Q + n m^2 / (1 + n g)) k / n^2``. Raises ``ValueError`` as `e_value`.
    """
    from scipy.special import stdtr

    n, mean, squares = _summary(_scaled(_checked(differences, g)))
    if n == 0 or mean == 0:
        return 0.5
    shrunken = n * g / (1 + n * g)
    scale = math.sqrt((squares + n * mean**2 / (1 + n * g)) * shrunken) / n
    return float(stdtr(n, shrunken * mean / scale))


def verdict(
    differences: Sequence[float],
    margin: float | None = None,
    level: float = LEVEL,
    g: float = EFFECT_VARIANCE,
) -> Decision:
    """What the differences show so far, by `interval`.

    ``equivalent``: the whole interval is inside ``-margin .. margin``, even if it excludes 0: such a difference is real but
    too small to matter. Without a margin only differences that are all exactly 0 are equivalent, those of one formulation
    under two names. ``higher`` and ``lower``: the interval excludes 0. They state the sign of the difference, not that it
    is larger than the margin. Raises ``ValueError`` as `interval`, and for a margin that is not positive.
    """
    found = interval(differences, level, g)
    if margin is not None and not margin > 0:
        raise ValueError(f"the margin must be positive, not {margin}")
    if _inside(found.low, found.high, margin):
        return "equivalent"
    return "higher" if found.low > 0 else "lower" if found.high < 0 else "undecided"


def seeds_needed(
    differences: Sequence[float],
    margin: float | None = None,
    level: float = LEVEL,
    g: float = EFFECT_VARIANCE,
) -> int | None:
    """Seeds in all until `verdict` is decided, if mean and standard deviation stay as they are now; the present number where
    it is decided.

    A plan, not a promise: both are estimates. None with fewer than two seeds, and for more than `MOST_SEEDS`. Raises
    ``ValueError`` as `verdict`.
    """
    if verdict(differences, margin, level, g) != "undecided":
        return len(differences)
    now, mean, squares = _summary(_checked(differences, g, level))
    if now < 2:
        return None
    seeds = np.arange(now + 1, MOST_SEEDS + 1)
    reach = half_width(seeds, squares / (now - 1) * (seeds - 1), level, g)
    decided = (reach < abs(mean)) | _inside(mean - reach, mean + reach, margin)
    return int(seeds[decided.argmax()]) if decided.any() else None


def log_e_value(n: Any, mean: Any, squares: Any, g: float = EFFECT_VARIANCE) -> NDArray[np.float64]:
    """``log E_n(0)`` for arrays of the number of seeds (two or more), mean difference and sum of squared deviations
    ``Q``."""
    spread = 1 + np.asarray(n, dtype=np.float64) * g
    signal = n * np.square(mean, dtype=np.float64)
    whole, part = squares + signal, squares + signal / spread
    ratio = np.divide(whole, part, out=np.ones(np.shape(whole * spread)), where=part > 0)
    return np.asarray((n * np.log(ratio) - np.log(spread)) / 2)


def half_width(
    n: ArrayLike, squares: ArrayLike, level: float = LEVEL, g: float = EFFECT_VARIANCE
) -> NDArray[np.float64]:
    """Half of the interval for arrays of the number of seeds and the sum of squared deviations ``Q``.

        sqrt(Q / n (A - 1) / (1 - A / (1 + n g))),    A = (sqrt(1 + n g) / level)^(2/n)

    It solves ``E_n = 1 / level`` for the distance from the mean. Infinite while ``A >= 1 + n g``: so few seeds refute no
    mean at that level, however they come out.
    """
    n, squares = np.asarray(n, dtype=np.float64), np.asarray(squares, dtype=np.float64)
    spread = 1 + n * g
    bound = np.exp((np.log(spread) - 2 * math.log(level)) / n)
    known = bound < spread
    ratio = np.divide(bound - 1, 1 - bound / spread, out=np.ones_like(bound), where=known)
    return np.where(known, np.sqrt(squares / n * ratio), np.inf)


def _inside(low: Any, high: Any, margin: float | None) -> Any:
    """Whether intervals are inside the margin; without one, whether they are the point 0."""
    if margin is None:
        return (low == 0) & (high == 0)
    return (low > -margin) & (high < margin)


def _checked(differences: Sequence[float], g: float, level: float = LEVEL) -> NDArray[np.float64]:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError("differences must be a list of finite numbers, one a seed")
    if not g > 0:
        raise ValueError(f"the effect variance g must be positive, not {g}")
    if not 0 < level < 1:
        raise ValueError(f"the level must be between 0 and 1, not {level}")
    return values


def _scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values over the largest of them, whose squares a float can hold."""
    return values / (np.abs(values).max(initial=0.0) or 1.0)


def _summary(values: NDArray[np.float64]) -> tuple[int, float, float]:
    """Number, mean and sum of squared deviations; all 0 deviations where the values are all equal."""
    if len(values) == 0:
        return 0, math.nan, 0.0
    mean = float(values[0] if (values == values[0]).all() else values.mean())
    return len(values), mean, float(np.square(values - mean).sum())
