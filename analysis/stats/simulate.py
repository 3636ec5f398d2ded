"""Tables with known truth, drawn from the model of `analysis.stats.two_way`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

KINDS = ("equal", "unequal", "one 3x", "one 5x")
UNEQUAL = 0.5
"""Deviation of the logarithm of a formulation's noise, where formulations differ in it: the noisiest tenth has 1.9 times
the median deviation or more."""


def noise(
    rng: np.random.Generator, shape: tuple[int, ...], correlation: float = 0.0, kind: str = "equal"
) -> NDArray[np.float64]:
    """What seeds do to tables of ``shape`` ``[..., F, S]`` whose true values are zero.

    ``sqrt(rho / (1 - rho)) b_s + sd_f e_fs`` with standard normal ``b`` and ``e``; by ``kind`` of `KINDS` ``sd_f`` is 1, or
    log-normal with the noisiest formulation first, or 3 or 5 for the first formulation alone. ``correlation`` is ``rho``,
    that of two formulations over seeds of equal noise.
    """
    shared = rng.standard_normal((*shape[:-2], 1, shape[-1])) * np.sqrt(correlation / (1 - correlation))
    deviation: NDArray[np.float64] = np.ones((*shape[:-1], 1))
    if kind == "unequal":
        logs = np.sort(rng.standard_normal(shape[:-1]), axis=-1)[..., ::-1, None]
        deviation = np.exp(UNEQUAL * logs)
    elif kind in ("one 3x", "one 5x"):
        deviation[..., 0, 0] = float(kind[4])
    return np.asarray(shared + deviation * rng.standard_normal(shape))


def points(
    rng: np.random.Generator,
    formulations: int,
    seeds: int,
    spread: float,
    *,
    settings: int = 12,
    reference_seeds: int = 200,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A table ``[F, C, S, 2]`` of two objectives, and another of the same formulations with ``reference_seeds`` seeds.

    True effects have the deviation ``spread``, the noise of one seed 1; half of its variance is shared by a cell's settings.
    """
    true = spread * rng.standard_normal((formulations, 1, 1, 2))
    found = []
    for count in (seeds, reference_seeds):
        cell = rng.standard_normal((formulations, 1, count, 2))
        setting = rng.standard_normal((formulations, settings, count, 2))
        found.append(true + np.sqrt(0.5) * (cell + setting))
    return found[0], found[1]
