"""The time grids of sampler settings, by name. No torch.

``native`` is a formulation's own; ``clock`` is equally spaced in b / (a + b), ``shift(alpha)`` that one shifted to noise;
``karras`` and ``logsnr`` are spaced in b / a (:mod:`formulations.grids`). The image tokens of a network give the alpha of
further shifts (:mod:`samplers.resolution_shift`). Tables list the time of every step: ``times(1,0.6,0.3)``, native ones, and
``logsnrs(-8,-2,3)``, ``2 log(a / b)``.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from flowbench._core.errors import UserError, nearest
from flowbench._core.grammar import Call, parse
from samplers.resolution_shift import RULES, unresolved

NUMBERS = {"native": 0, "clock": 0, "shift": 1, "karras": 0, "logsnr": 0} | {
    rule: count for rule, (_, count) in RULES.items()
}
"""Name -> how many numbers it has."""
TABLES = ("times", "logsnrs")
"""Those that have a number for each step."""
FORMS = (
    *("native", "clock", "karras", "logsnr", "shift(alpha)", "fluxshift", "sd3shift(base)"),
    *("times(1,...)", "logsnrs(-8,...)"),
)
"""How they are written."""
SUFFIX = ".txt"
"""Of a file that has a table."""
DIGITS = 7
"""Significant digits of a number."""


def canonical(text: str) -> str:
    """A grid's name with its numbers in the shortest spelling; a shift by 1 is ``clock``. Raises :class:`UserError`."""
    try:
        call = parse(text)
    except UserError:
        call = Call(text)
    numbers = [float(f"{arg:.{DIGITS}g}") for arg in call.args if not isinstance(arg, Call)]
    if call.word in TABLES and len(numbers) == len(call.args) > 0:
        _check_table(call.word, numbers)
    elif not len(call.args) == len([n for n in numbers if n > 0]) == NUMBERS.get(call.word):
        raise UserError(f"unknown grid {text!r}; {nearest(call.word, FORMS)}")
    name = call.word + (f"({','.join(f'{n:.{DIGITS}g}' for n in numbers)})" if numbers else "")
    return "clock" if name == "shift(1)" else name


def _check_table(word: str, numbers: list[float]) -> None:
    """Raise :class:`UserError` unless the numbers go from noise to data."""
    times = word == "times"
    for before, after in pairwise(numbers):
        if (after >= before) if times else (after <= before):
            way = "fall, from noise to data" if times else "rise, from noise to data"
            raise UserError(
                f"the {word} of a table must {way}: {after:.{DIGITS}g} follows {before:.{DIGITS}g}"
            )
    if times and not 0 < numbers[-1] <= numbers[0] <= 1:
        wrong = numbers[0] if numbers[0] > 1 else numbers[-1]
        raise UserError(
            f"the times of a table lie above 0, where the last step ends, and up to 1, and {wrong:.{DIGITS}g} does not"
        )


def listed(name: str) -> tuple[str, tuple[float, ...]] | None:
    """The word and the numbers of a canonical name that is a table; None for others."""
    call = parse(name)
    return (
        (call.word, tuple(n for n in call.args if not isinstance(n, Call))) if call.word in TABLES else None
    )


def written(text: str) -> str:
    """A grid's name as it is, or that of the table in a file ``NAME.txt``: the word ``times`` or ``logsnrs`` on the first
    line, then a number a line. Raises :class:`UserError`."""
    if not text.endswith(SUFFIX):
        return text
    try:
        word, *numbers = Path(text).expanduser().read_text(encoding="utf-8").split() or [""]
    except OSError as error:
        raise UserError(f"the time grid {text}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"the time grid {text} is no text") from None
    if word not in TABLES:
        raise UserError(f"the time grid {text} begins with {word!r}: its first line must be times or logsnrs")
    try:
        return canonical(f"{word}({','.join(numbers)})")
    except UserError as error:
        raise UserError(f"the time grid {text}: {error}") from None


def shifted_by(name: str) -> float:
    """The alpha of ``clock``, 1, and of ``shift(alpha)``. Raises :class:`UserError` for a grid that needs a network."""
    call = parse(name)
    if call.word in RULES:
        raise unresolved(call.word)
    return float(str(call.args[0])) if call.args else 1.0
