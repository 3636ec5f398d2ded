"""The time grids of sampler settings, by name. No torch.

``native`` is a formulation's own; ``clock`` is equally spaced in b / (a + b), ``shift(alpha)`` that one shifted to noise;
``karras`` and ``logsnr`` are spaced in b / a (:mod:`formulations.grids`). The image tokens of a network give the alpha of
further shifts (:mod:`samplers.resolution_shift`).
"""

from __future__ import annotations

from flowbench._core.errors import UserError, nearest
from flowbench._core.grammar import Call, parse
from samplers.resolution_shift import RULES, unresolved

NUMBERS = {"native": 0, "clock": 0, "shift": 1, "karras": 0, "logsnr": 0} | {
    rule: count for rule, (_, count) in RULES.items()
}
"""Name -> how many numbers it has."""
FORMS = ("native", "clock", "karras", "logsnr", "shift(alpha)", "fluxshift", "sd3shift(base)")
"""How they are written."""
DIGITS = 7
"""Significant digits of a number."""


def canonical(text: str) -> str:
    """A grid's name with its number in the shortest spelling; a shift by 1 is ``clock``. Raises :class:`UserError`."""
    try:
        call = parse(text)
    except UserError:
        call = Call(text)
    numbers = [arg for arg in call.args if not isinstance(arg, Call) and arg > 0]
    if not len(call.args) == len(numbers) == NUMBERS.get(call.word):
        raise UserError(f"unknown grid {text!r}; {nearest(call.word, FORMS)}")
    name = call.word + (f"({numbers[0]:.{DIGITS}g})" if numbers else "")
    return "clock" if name == "shift(1)" else name


def shifted_by(name: str) -> float:
    """The alpha of ``clock``, 1, and of ``shift(alpha)``. Raises :class:`UserError` for a grid that needs a network."""
    call = parse(name)
    if call.word in RULES:
        raise unresolved(call.word)
    return float(str(call.args[0])) if call.args else 1.0
