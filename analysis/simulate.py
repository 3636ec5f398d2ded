"""Tables of which the truth is known, drawn from the model of `analysis.stats`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

UNEQUAL = 0.5
"""Deviation of the logarithm of a formulation's noise, where formulations differ in it: the noisiest tenth has 1.9 times
the median deviation or more."""


def noise(
    rng: np.random.Generator, shape: tuple[int, ...], correlation: float = 0.0, unequal: bool = False
) -> NDArray[np.float64]:
    """What seeds do to tables of ``shape`` ``[..., F, S]`` whose true values are zero.

    ``sqrt(rho / (1 - rho)) b_s + sd_f e_fs`` with standard normal ``b`` and ``e``; ``sd_f`` is 1, or log-normal where
    ``unequal``. ``correlation`` is ``rho``, that of two formulations over seeds.
    """
    shared = rng.standard_normal((*shape[:-2], 1, shape[-1])) * np.sqrt(correlation / (1 - correlation))
    deviation: Any = np.exp(UNEQUAL * rng.standard_normal((*shape[:-1], 1))) if unequal else 1.0
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
