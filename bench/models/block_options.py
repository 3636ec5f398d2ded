"""The options of blocks. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from flowbench._core.errors import UserError, nearest


@dataclass(frozen=True)
class Options:
    """What blocks may vary: the GELU of their MLPs, ``exact`` or its approximation by ``tanh``, and the normalisation of
    queries and keys, ``rms`` or ``none``."""

    gelu: str = "exact"
    qk: str = "rms"

    def __post_init__(self) -> None:
        for name, value, known in (("gelu", self.gelu, ("exact", "tanh")), ("qk", self.qk, ("rms", "none"))):
            if value not in known:
                raise UserError(f"--model: {name}={value} is not known; {nearest(value, known)}")


OPTIONS = Options()
"""The usual ones."""
