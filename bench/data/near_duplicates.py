"""Near-duplicates by their features: pictures whose cosine reaches a threshold, and all that are linked through others.

The study removes near-duplicates by SSCD features at a threshold of 0.5 (arXiv 2403.03206, appendix E.2) within clusters,
and keeps the first of a group that it meets. Here all pairs are compared, and of a group the lowest row stays: with rows in
the order of their keys the result does not depend on the order of the files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from flowbench._core.errors import UserError

BLOCK = 4096
"""Rows that are compared at once with as many others; no result depends on it."""
SPARE = 16
"""Pairs that take as much memory as two empty arrays."""
Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows ``i < j [m]`` that belong to one group."""
MARGIN = 1e-4
"""Pairs this close below the threshold in single precision are computed again in double precision."""


def first_of_each(
    features: Tensor, threshold: float, device: str = "cpu", block: int = BLOCK
) -> NDArray[np.int64]:
    """For each row of ``features [N, D]`` the lowest row of its group.

    Groups are the connected components of the graph of pairs with ``cos(f_i, f_j) >= threshold``. Time N^2 D, memory N D.
    Raises :class:`UserError` for features that are not finite.
    """
    unit = normalised(features)
    first = np.arange(len(unit))
    found, waiting = list[Pairs](), 0
    for i, j in linked(unit, threshold, device, block):
        if len(i):
            found.append((i, j))
            waiting += len(i) + SPARE
        if waiting > len(unit):  # a join takes time N, so many pairs share one
            first, found, waiting = joined(first, found), [], 0
    return joined(first, found)


def normalised(features: Tensor) -> Tensor:
    """Rows of length 1, float64; one of zeros stays so. Raises :class:`UserError` for features that are not finite."""
    odd = (~features.isfinite().all(1)).nonzero().flatten()
    if len(odd):
        raise UserError(
            f"the features of {len(odd):,} of {len(features):,} pictures are not finite: use another extractor"
        )
    return torch.nn.functional.normalize(features.double(), dim=1, eps=1e-30)


def linked(unit: Tensor, threshold: float, device: str, block: int) -> Iterator[Pairs]:
    """The pairs of each two blocks that reach the threshold."""
    single = unit.float()
    for top in range(0, len(single), block):
        rows = single[top : top + block].to(device)
        for left in range(top, len(single), block):
            close = rows @ single[left : left + block].to(device).T >= threshold - MARGIN
            i, j = (each.cpu() for each in close.nonzero(as_tuple=True))
            i, j = i + top, j + left
            i, j = i[i < j], j[i < j]
            kept = [
                (unit[some] * unit[others]).sum(1) >= threshold
                for some, others in zip(i.split(block), j.split(block), strict=True)
            ]
            reached = torch.cat(kept) if kept else torch.zeros(0, dtype=torch.bool)
            yield i[reached].numpy(), j[reached].numpy()


def joined(first: NDArray[np.int64], pairs: Sequence[Pairs]) -> NDArray[np.int64]:
    """The lowest row of each group after the groups of each two rows became one."""
    if not pairs:
        return first
    (i, j), count = map(np.concatenate, zip(*pairs, strict=True)), len(first)
    graph = coo_array((np.ones(len(i), np.int8), (first[i], first[j])), shape=(count, count))
    labels = connected_components(graph, directed=False)[1][first]
    lowest = np.full(labels.max() + 1, count)
    np.minimum.at(lowest, labels, np.arange(count))
    return lowest[labels]
