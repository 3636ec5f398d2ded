"""How often one formulation beats another: wins over independent pairs, with an exact interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.stats.two_way import CONFIDENCE


@dataclass(frozen=True)
class WinRate:
    """``rate = (wins + ties / 2) / pairs`` and its 95 % interval ``low``, ``high``; NaN, 0 and 1 without a pair."""

    wins: int
    ties: int
    pairs: int
    rate: float
    low: float
    high: float


def win_rate(one: Any, other: Any, higher_is_better: bool) -> WinRate:
    """How often ``one`` beats ``other``, values ``[n]`` of pairs that are independent: one for each dataset and seed, each
    the mean over that cell's control settings, since the settings share the cell's luck.

    A tie counts half. The interval is Clopper & Pearson's (1934), ``low`` with all ties lost and ``high`` with all of them
    won, so that it holds for P(win) + P(tie) / 2 with 95 % or more. Pairs with a NaN are left out. Raises ``ValueError`` if
    the shapes differ.
    """
    a, b = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"values must be two lists of one length, not {list(a.shape)} and {list(b.shape)}")
    there = ~(np.isnan(a) | np.isnan(b))
    better = np.sign(a[there] - b[there]) * (1 if higher_is_better else -1)
    wins, ties, pairs = int((better > 0).sum()), int((better == 0).sum()), int(there.sum())
    rate = (wins + ties / 2) / pairs if pairs else float("nan")
    return WinRate(
        wins, ties, pairs, rate, exact_interval(wins, pairs)[0], exact_interval(wins + ties, pairs)[1]
    )


def exact_interval(wins: int, pairs: int) -> tuple[float, float]:
    """Clopper & Pearson's 95 % interval of a probability that showed itself ``wins`` times in ``pairs``."""
    from scipy.special import betaincinv

    tail = (1 - CONFIDENCE) / 2
    low = float(betaincinv(wins, pairs - wins + 1, tail)) if wins > 0 else 0.0
    high = float(betaincinv(wins + 1, pairs - wins, 1 - tail)) if wins < pairs else 1.0
    return low, high
