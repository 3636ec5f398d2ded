"""A formulation told to the readers of a run folder: its formula in words, and where it trains, as short curves."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from formulations import Formulation
from formulations.formulation import EDGE_U
from formulations.profile import law, velocity_weight

PARTS = 64
"""Equal parts of the clock for which the curves have a number."""
QUANTILES = 4001
"""Training times behind the curves, dense in both tails."""


def profile(formulation: Formulation) -> dict[str, Any]:
    """The ``formula`` in one line, and over the ``clock`` b / (a + b) the ``density`` of the training times and the training
    ``budget`` (:mod:`formulations.profile`); for ``config.json``.

    Both curves are means over 64 equal parts of the clock, told at the middle of each, and integrate to 1. A curriculum's
    are averages over the training. They are left out where they are not finite, as for a weight of 0 everywhere.
    """
    in_words = f"times {law(formulation)}"
    told = {"formula": f"{formulation.formula}; {in_words}" if formulation.formula else in_words}
    switch = formulation.law.switch
    phases = [(switch[0], 0.0), (1 - switch[0], 1.0)] if switch else [(1.0, 0.0)]
    curves = PARTS * np.sum([length * shares(formulation, progress) for length, progress in phases], axis=0)
    if not np.isfinite(curves).all():
        return told
    clock = (np.arange(PARTS) + 0.5) / PARTS
    return told | {
        name: [float(f"{value:.6g}") for value in curve]
        for name, curve in zip(("clock", "density", "budget"), (clock, *curves), strict=True)
    }


def shares(formulation: Formulation, progress: float) -> NDArray[np.float64]:
    """The share of the training times and that of the training loss in each part of the clock, ``[2, PARTS]``.

    ``E_u[1]`` and ``E_u[w (det / (a + b))^2]`` up to each edge by the trapezoidal rule over quantiles u, at ``progress`` of
    the training.
    """
    reach = float(torch.logit(torch.tensor(1 - EDGE_U, dtype=torch.float64)))
    u = torch.sigmoid(torch.linspace(-reach, reach, QUANTILES, dtype=torch.float64))
    t = formulation.times(u, progress)
    s, weight = formulation.clock(t), velocity_weight(formulation, t)
    if s[0] > s[-1]:
        s, weight = s.flip(0), weight.flip(0)  # u itself is symmetric
    spent = torch.cat([u.new_zeros(1), torch.cumulative_trapezoid(weight, u)])
    edges = np.linspace(0, 1, PARTS + 1)
    below = [np.interp(edges, s.numpy(), (each / each[-1]).numpy()) for each in (u - u[0], spent)]
    found: NDArray[np.float64] = np.diff(below)
    return found
