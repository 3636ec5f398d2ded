"""A formulation for the readers of a run folder: its formula in words, and where it trains, as short curves."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from formulations import Formulation
from formulations.profile import curves, law

POINTS = 256
"""Places on the clock at which the curves have a number."""
QUANTILES = 20_001
"""Training times behind the curves, dense in both tails."""


def profile(formulation: Formulation) -> dict[str, Any]:
    """The ``formula`` in one line, and over the ``clock`` b / (a + b) the ``density`` of the training times and the training
    ``budget`` (:func:`formulations.profile.curves`); for ``config.json``.

    Both curves are values at the middles of 256 equal parts of the clock, 0 where nothing is trained. A curriculum's are
    averages over the training. They are left out where they are not finite, as for a weight of 0 everywhere.
    """
    in_words = f"times {law(formulation)}"
    kept = {"formula": f"{formulation.formula}; {in_words}" if formulation.formula else in_words}
    switch = formulation.law.switch
    phases = [(switch[0], 0.0), (1 - switch[0], 1.0)] if switch else [(1.0, 0.0)]
    clock = (np.arange(POINTS) + 0.5) / POINTS
    values = np.sum([length * at(clock, formulation, progress) for length, progress in phases], axis=0)
    if not np.isfinite(values).all():
        return kept
    return kept | {
        name: [float(f"{value:.6g}") for value in curve]
        for name, curve in zip(("clock", "density", "budget"), (clock, *values), strict=True)
    }


def at(clock: NDArray[np.float64], formulation: Formulation, progress: float) -> NDArray[np.float64]:
    """Density of the training times and training budget ``[2, N]`` at places of the clock, at ``progress`` of a training."""
    c = curves(formulation, progress, QUANTILES)
    x = c.clock.numpy()
    values = [np.interp(clock, x, y.numpy(), left=0.0, right=0.0) for y in (c.density, c.budget)]
    found: NDArray[np.float64] = np.stack(values)
    return found
