"""Which items train and which are held out, by the hash of a key of each: the same whatever other items there are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

VALIDATION_SHARE = 1 / 8
"""The share of keys whose hash falls on the validation side."""


def unit_hash(key: str) -> float:
    """A key's place in ``[0, 1)``, by sha256: fixed for ever, whatever other keys there are."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big") / 2**48


def in_validation(key: str) -> bool:
    """Whether an item belongs to the validation side of the split."""
    return unit_hash(key) < VALIDATION_SHARE


def hash_split(keys: Sequence[str], train: int, validation: int) -> tuple[list[int], list[int]]:
    """Positions of the training and validation items among ``keys``; both counts are upper bounds.

    An item's side depends on its own key only. Where a bound leaves items out, those of the lowest hash stay,
    so that a subset is spread evenly and stable as well. The order of ``keys`` is kept.
    """
    order = sorted(range(len(keys)), key=lambda i: (unit_hash(keys[i]), keys[i], i))
    sides: tuple[list[int], list[int]] = ([], [])
    for i in order:
        sides[int(in_validation(keys[i]))].append(i)
    return sorted(sides[0][:train]), sorted(sides[1][:validation])
