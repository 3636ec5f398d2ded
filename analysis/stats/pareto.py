"""Non-dominated sorting: the study's ranking of one control setting.

A point dominates another if it is at least as good in every objective and better in one. The points that nothing
dominates are front 1; without them, those that nothing dominates are front 2; and so on (Srinivas & Deb 1994;
arXiv 2403.03206, section 5.1). Equal points share a front. With one objective this is dense ranking.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def fronts(points: Any, maximise: Sequence[bool]) -> NDArray[np.int64]:
    """Front index ``[..., N]``, from 1, of each set of ``points`` ``[..., N, K]``, K being 1 or 2.

    ``maximise[k]`` says which way objective ``k`` is better. A point with a NaN or infinite objective comes after all
    others of its set: last front + 1, shared. Raises ``ValueError`` if the shapes do not fit.

    Points are visited from the best first objective on. One that a front has room for has a better second objective than
    every member so far, so a front is known by the best second objective in it, and the point's front is one more than the
    number of fronts that are no worse (Jensen 2003, IEEE Trans. Evol. Comput. 7(5)). Time O(N^2) for each set, at most.
    """
    values = np.asarray(points, dtype=np.float64)
    if not 1 <= len(maximise) <= 2:
        raise ValueError(f"fronts are found for one or two objectives, not {len(maximise)}")
    if values.ndim < 2 or values.shape[-1] != len(maximise):
        raise ValueError(f"points must be [..., N, {len(maximise)}], not {list(values.shape)}")
    *batch, count, _ = values.shape
    cost = values * np.where(maximise, -1.0, 1.0)
    finite: NDArray[np.bool_] = np.all(np.isfinite(cost), axis=-1)
    cost = np.where(finite[..., None], cost, np.inf).reshape(math.prod(batch), count, len(maximise))
    first, second = cost[..., 0], cost[..., 1] if len(maximise) == 2 else np.zeros_like(cost[..., 0])
    order = np.lexsort((second, first), axis=-1)
    # Sets along the last, contiguous axis: one step of the loop handles a point of each.
    first, second = (np.ascontiguousarray(np.take_along_axis(c, order, axis=-1).T) for c in (first, second))
    found = _sweep(first, second)
    index = np.empty(order.shape, dtype=np.int64)
    np.put_along_axis(index, order, found.T, axis=-1)
    index = index.reshape(*batch, count)
    last = np.where(finite, index, 0).max(axis=-1, keepdims=True, initial=0)
    return np.where(finite, index, last + 1)


def _sweep(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.int64]:
    """Fronts ``[N, M]`` of M sets whose points are sorted by the first objective, then the second; lower is better."""
    count, sets = first.shape
    best = np.full((count, sets), np.inf)  # second objective of each front; increases with the front
    found, column, depth = np.zeros((count, sets), dtype=np.int64), np.arange(sets), 0
    for i in range(count):
        front = (best[:depth] <= second[i]).sum(axis=0)
        if i:
            twin = (first[i] == first[i - 1]) & (second[i] == second[i - 1])
            front = np.where(twin, found[i - 1], front)
        best[front, column] = second[i]
        found[i] = front
        depth = max(depth, int(front.max(initial=-1)) + 1)
    return found + 1
