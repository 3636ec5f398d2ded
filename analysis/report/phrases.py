"""Names, numbers and lists in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from analysis.tables.wording import series

BEGIN, END = "\ue000", "\ue001"
"""They enclose the names of formulations in a sentence, which a page formats."""
MANY = 3
"""So many names are listed; of more, the first is."""
SURE = "Hsu, family-wise 95 %"
"""How sure comparisons are."""


def name(formulation: str) -> str:
    """A formulation's name in a sentence."""
    return f"{BEGIN}{formulation}{END}"


def listed(values: Sequence[str], named: bool = True) -> str:
    """``a``, ``a and b``, ``a, b and c``, or, of more, ``a and 3 others``."""
    shown = [name(v) if named else v for v in values]
    if len(shown) > MANY:
        return f"{shown[0]} and {len(shown) - 1} others"
    return series(shown)


def span(seeds: Iterable[int]) -> str:
    """``1000 to 1002``."""
    found = sorted(seeds)
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"


def sizes(log: bool, *values: float) -> list[str]:
    """Differences on the scale of a response, of logarithms (``log``) in percent, with two digits, or more if
    these do not separate them."""
    shown = [100 * math.expm1(v) if log else v for v in values]
    for digits in range(2, 7):
        texts = [rounded(v, digits) for v in shown]
        if len(set(texts)) == len(set(shown)):
            break
    return [f"{text} %" if log else text for text in texts]


def rounded(value: float, digits: int = 2) -> str:
    """A number with some significant digits and without an exponent: ``0.32``, ``5.0``, ``1,700``."""
    found = float(f"{value:.{digits}g}")
    if abs(found) >= 10 ** (digits - 1) or found == 0:
        return f"{found:,.0f}"
    return f"{found:.{digits - 1 - math.floor(math.log10(abs(found)))}f}"


def written(values: Sequence[float], response: str) -> list[str]:
    """Means with as many decimals as give the largest four digits, mean fronts with two; up to three more where means that
    differ would look the same."""
    largest = max(map(abs, values))
    usual = 2 if response == "rank" or largest == 0 else max(0, 3 - math.floor(math.log10(largest)))
    for decimals in range(usual, usual + 4):
        texts = [f"{v:.{decimals}f}" for v in values]
        if len(set(texts)) == len(set(values)):
            break
    return texts
