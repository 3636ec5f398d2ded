"""How numbers of a scaling experiment are written."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any


def number(value: float) -> str:
    """Three digits: plain from 0.01 to 99,999, else with an exponent, e.g. ``3.96e14``."""
    if 0.01 <= abs(value) < 1e5 or value == 0:
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    digits, _, exponent = f"{value:.2e}".partition("e")
    return f"{digits}e{int(exponent)}"


def power(value: float) -> str:
    """As short as possible, e.g. ``500``, ``1e14``, ``3e6``."""
    if value < 1e5:
        return f"{value:g}"
    digits, _, exponent = f"{value:.3e}".partition("e")
    return f"{float(digits):g}e{int(exponent)}"


def span(row: Mapping[Hashable, Any], name: str, digits: int) -> str:
    """A value of ``row`` with its interval, ``0.443 [0.441, 0.444]``; without an interval the value; nothing for NaN."""
    value, low, high = (row.get(key) for key in (name, f"{name}_low", f"{name}_high"))
    if value is None or value != value:
        return ""
    ends = "" if low is None or low != low else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{value:.{digits}f}{ends}"
