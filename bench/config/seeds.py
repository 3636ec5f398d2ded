"""Every random number of a run comes from here: seeds derived by sha256 from what they are for."""

from __future__ import annotations

import hashlib
import json

PROTOCOL = "flowbench-1"
"""Version of the protocol; part of every seed, so that a new protocol draws new numbers."""


def seed_for(*parts: str | int) -> int:
    """A 63-bit seed for a purpose, e.g. ``seed_for("noise", seed, step)``.

    The formulation, the rank and the pack are never among ``parts``: all formulations of one seed see the same
    initial weights, data, noise and ``u`` (common random numbers).
    """
    text = json.dumps([PROTOCOL, *parts], separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
