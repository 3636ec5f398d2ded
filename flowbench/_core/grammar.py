"""The grammar of names: ``word(arg, ...)``, with one canonical spelling of every number."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from flowbench._core.errors import UserError

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.+\-]*")
PLAIN = re.compile(r"[a-z][a-z0-9_+]*")
"""A plain name: such are parts of a setting (``5:5:ddim``) and of a file's name (``ema-5-5-ddim``)."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Call:
    """A parsed name: ``lognorm(0,1)`` is ``Call("lognorm", (0.0, 1.0))``; arguments are numbers or calls."""

    word: str
    args: tuple[float | Call, ...] = ()

    def __str__(self) -> str:
        inside = ",".join(str(a) if isinstance(a, Call) else number(a) for a in self.args)
        return f"{self.word}({inside})" if self.args else self.word


def number(value: float) -> str:
    """Canonical spelling: two decimals, or as many as it takes to read back the same float64."""
    value = float(value) + 0.0  # -0.0 and 0.0 are one value, so one spelling
    for decimals in range(2, 18):
        text = f"{value:.{decimals}f}"
        if float(text) == value:
            return text.removeprefix("-") if value == 0 else text
    return repr(value)


def split_top(text: str, mark: str) -> list[str]:
    """``text`` cut at every ``mark`` that stands outside parentheses; parts are stripped of spaces."""
    parts, depth, begin = [], 0, 0
    for i, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == mark and depth == 0:
            parts.append(text[begin:i])
            begin = i + 1
    return [p.strip() for p in [*parts, text[begin:]]]


def parse(text: str) -> Call:
    """Reads ``word`` or ``word(arg, ...)``.

    Raises:
        UserError: where the text is not of that form, or a number is not finite.
    """
    text = text.strip()
    head = _WORD.match(text)
    if head is None:
        raise UserError(f"cannot read the name {text!r}: expected a word such as 'rf' or 'lognorm(0,1)'")
    rest = text[head.end() :].strip()
    if not rest:
        return Call(head.group())
    if not (rest.startswith("(") and rest.endswith(")")) or not _balanced(rest):
        raise UserError(
            f"cannot read the name {text!r}: expected '{head.group()}(...)' with matching parentheses"
        )
    inside = rest[1:-1].strip()
    if not inside:
        return Call(head.group())
    return Call(head.group(), tuple(_argument(a, text) for a in split_top(inside, ",")))


def _balanced(text: str) -> bool:
    """Whether the first parenthesis closes exactly at the end."""
    depth = 0
    for i, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0 and i < len(text) - 1:
            return False
    return depth == 0


def _argument(text: str, whole: str) -> float | Call:
    if _NUMBER.fullmatch(text):
        value = float(text)
        if math.isfinite(value):
            return value + 0.0
    elif text.lower().lstrip("+-") not in {"", "nan", "inf", "infinity"}:
        return parse(text)
    raise UserError(f"{text!r} in {whole!r} is not a finite number")


def numbers_in_glob(pattern: str) -> str:
    """The pattern with spaces dropped and the numbers inside its parentheses spelled canonically."""
    pattern = re.sub(r"\s+", "", pattern)
    return re.sub(r"(?<=[(,])" + _NUMBER.pattern + r"(?=[,)])", lambda m: number(float(m.group())), pattern)
