"""The weights that a training keeps, by name. No torch.

``ema`` and ``raw`` are those of the smallest validation loss. ``ema@0.5`` and ``raw@0.5`` are those of a *milestone*, a
fraction of the steps, whatever the losses were.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from flowbench._core.errors import UserError

Weights = Literal["ema", "raw"]
AT = "@"


def canonical(name: str) -> str:
    """``ema@0.5`` of ``ema@0.50``. Raises :class:`UserError` for what names no weights."""
    kind, at, text = name.partition(AT)
    try:
        if kind in get_args(Weights) and (not at or 0 < float(text) <= 1):
            return named(kind, float(text)) if at else kind
    except ValueError:
        pass
    raise UserError(
        f"--weights {name!r}: choose from {', '.join(map(repr, get_args(Weights)))}, or those after a fraction of the "
        f"training in (0, 1], for example ema@0.5"
    )


def named(kind: str, fraction: float) -> str:
    """The name of a milestone's weights."""
    return f"{kind}{AT}{fraction:g}"


def milestone(name: str) -> float | None:
    """The fraction in the name of weights; None for those of the smallest validation loss, and for words of other tables."""
    try:
        fraction = canonical(name).partition(AT)[2]
    except UserError:
        return None
    return float(fraction) if fraction else None


def milestones(fractions: Sequence[float]) -> tuple[float, ...]:
    """Fractions in order, each once and as names have it. Raises :class:`UserError` for one outside of (0, 1]."""
    for fraction in fractions:
        if not 0 < fraction <= 1:
            raise UserError(f"--milestones {fraction:g}: must be fractions of the training in (0, 1]")
    return tuple(sorted({float(f"{fraction:g}") for fraction in fractions}))


def step_of(fraction: float, steps: int) -> int:
    """The step of a milestone: the fraction of all ``steps``, rounded, and at least the first."""
    return max(1, round(fraction * steps))
