"""Which of the declared metrics are compared, and with how many decimals one is shown."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

COMPARED = ("clip", "fid", "val_loss")
"""The metrics by which formulations are also ranked alone, compared between seeds, and confirmed."""


def decimals(values: pd.Series[Any], significant: int) -> int:
    """Decimals that give the median value so many digits, from 1 to 6."""
    middle = float(values.abs().median())
    if not math.isfinite(middle) or middle == 0:
        return 2
    return min(6, max(1, significant - 1 - math.floor(math.log10(middle))))
