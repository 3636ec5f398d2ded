"""Non-dominated sorting: the study's ranking of one control setting.

A point dominates another if it is at least as good in every objective and better in one. The points that
nothing dominates are front 1; without them, those that nothing dominates are front 2; and so on (Srinivas &
Deb 1994; arXiv 2403.03206, section 5.1). Equal points share a front. With one objective this is dense
ranking.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def fronts(points: Any, maximise: Sequence[bool]) -> NDArray[np.int64]:
    """Front index ``[N]``, from 1, of ``points`` ``[N, K]``; ``maximise[k]`` says which way objective ``k``
    is better.

    A point with a NaN or infinite objective comes after all others: last front + 1, shared.
    Memory and time O(N^2 K) per front; raises ``ValueError`` if the shapes do not fit.
    """
    values = np.asarray(points, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(maximise):
        raise ValueError(f"points must be [N, {len(maximise)}], not {list(values.shape)}")
    index = np.zeros(len(values), dtype=np.int64)
    finite = np.isfinite(values).all(axis=1)
    cost = values[finite] * np.where(maximise, -1.0, 1.0)
    no_worse: NDArray[np.bool_] = np.all(cost[:, None, :] <= cost[None, :, :], axis=2)
    dominates = no_worse & ~no_worse.T
    found, left, front = np.zeros(len(cost), dtype=np.int64), np.ones(len(cost), dtype=bool), 0
    while left.any():
        front += 1
        first = left & ~dominates[left].any(axis=0)
        found[first] = front
        left &= ~first
    index[finite] = found
    index[~finite] = front + 1
    return index
