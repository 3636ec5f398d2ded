"""Feature matrices as float64 numpy rows, whatever they came as."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
"""Features ``[N, D]``, one row per image or caption."""


def as_rows(features: Any) -> Rows:
    """``features`` (a torch tensor on any device, or anything numpy reads) as float64 ``[N, D]``.

    Raises ``ValueError`` if it has not exactly two axes.
    """
    if hasattr(features, "detach"):  # a torch tensor, without importing torch for it
        features = features.detach().to("cpu").double().numpy()
    rows = np.asarray(features, dtype=np.float64)
    if rows.ndim != 2:
        raise ValueError(f"features must have the shape [N, D], not {list(rows.shape)}")
    return rows
