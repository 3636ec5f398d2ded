"""The look of a formulation, derived from its name alone: the same in every figure, whatever else is drawn with it.

Family -> hue, first number -> lightness, last number -> marker, both -> line style: neighbours on a grid of parameters
differ, and figures can be read without colour. The hues are those of Okabe & Ito (2008, "Color universal design"),
brought to a middle lightness that shows on white and on black.
"""

from __future__ import annotations

import hashlib
import math
import re
from functools import cache

import numpy as np

INK = "#1a1b1c"
"""Text and axes. Nothing else has this colour, so that a page may replace it by its own."""
MUTED = "#8c8d8e"
"""What stands back: lines of others, guides, fronts."""

LineStyle = tuple[float, tuple[float, ...] | None]

FAMILIES: dict[str, tuple[float, float, float]] = {
    "rf": (266, 45, 45),
    "rf/cosmap": (20, 50, 41),
    "rf/mode": (164, 46, 60),
    "rf/lognorm": (56, 74, 53),
    "eps": (78, 72, 65),
    "v": (245, 36, 62),
    "edm": (345, 42, 57),
}
"""Hue (degrees), chroma and lightness in CIELAB of the study's families; any other gets a hue from its name. The order
counts: markers begin with it, and so no two of the study's published formulations look alike in grey."""
SIZES = {
    "o": 1.0,
    "s": 0.95,
    "^": 1.1,
    "D": 0.85,
    "v": 1.1,
    "P": 1.15,
    "X": 1.15,
    "<": 1.1,
    ">": 1.1,
    "*": 1.5,
    "d": 1.2,
}
"""The markers, and what makes them equally large to the eye."""
MARKERS = tuple(SIZES)
LINES: tuple[LineStyle, ...] = (
    (0, None),
    (0, (4.5, 1.5)),
    (0, (4.5, 1.3, 1, 1.3)),
    (0, (1.2, 1.2)),
)
SPREAD = 10.0
"""The most that the first number changes the lightness."""
DARKEST, LIGHTEST = 38.0, 73.0
"""Limits of the lightness: 2 to 1 against white, and more against a dark page."""

_NUMBER = re.compile(r"(?<![\w.])[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?(?![\w.])", re.IGNORECASE)
_INNERMOST = re.compile(r"\([^()]*\)")


def colour(formulation: str) -> str:
    """``#rrggbb``."""
    (hue, chroma, light), numbers = _base(formulation), _numbers(formulation)
    light += SPREAD * math.tanh(_first(formulation))
    light += 4 * math.tanh(numbers[-1] - 1) if len(numbers) > 1 else 0
    return _hex(hue, chroma, min(max(light, DARKEST), LIGHTEST))


def marker(formulation: str) -> str:
    """A filled marker of matplotlib. Where the study's grids have one twice, the lightness differs: they go through the
    markers in steps of two with the last number, and by one with the first."""
    numbers, words, entry = _numbers(formulation), _words(formulation), known(formulation)
    begin = list(FAMILIES).index(entry) if entry else _digest(family(formulation))
    step = round(5 * numbers[-1]) + round(2 * numbers[0]) % 2 if numbers else 0
    return MARKERS[(begin + step + (_digest(words) if words else 0)) % len(MARKERS)]


def linestyle(formulation: str) -> LineStyle:
    """Offset and dashes, in units of the line's width: neighbours in either number have different ones."""
    numbers = _numbers(formulation)
    step = math.floor(2.5 * (numbers[-1] - 1)) if len(numbers) > 1 else 0
    return LINES[(step + round(2 * _first(formulation))) % len(LINES)]


def family(formulation: str) -> str:
    """The name without what stands in parentheses, e.g. ``rf/shift`` of ``rf/shift(3.00,lognorm(0.00,1.00))``."""
    name, shorter = formulation, _INNERMOST.sub("", formulation)
    while shorter != name:
        name, shorter = shorter, _INNERMOST.sub("", shorter)
    return name


def known(formulation: str) -> str | None:
    """The entry of `FAMILIES` that a formulation belongs to: all of ``eps/...``, but of ``rf/...`` the study's samplers."""
    name = re.split(r"[@+]", family(formulation))[0]
    if name in FAMILIES:
        return name
    word = name.partition("/")[0]
    return word if word in FAMILIES and word != "rf" else None


def ink_on(red: float, green: float, blue: float) -> str:
    """Black or white, whichever is the easier to read on a colour given by its sRGB parts in [0, 1]."""
    return "#0c0d0e" if _luminance(red, green, blue) > 0.18 else "#ffffff"


def _luminance(*parts: float) -> float:
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _base(formulation: str) -> tuple[float, float, float]:
    entry = known(formulation)
    if entry is not None:
        return FAMILIES[entry]
    digest = _digest(family(formulation))
    return digest % 360, 45.0, 44.0 + 4 * (digest // 360 % 6)


def _first(formulation: str) -> float:
    """The first number in the name; without one, a fixed one in [-1, 1] for what comes after the family's word."""
    numbers, words = _numbers(formulation), _words(formulation)
    if numbers:
        return numbers[0]
    return (_digest(words) % 8 - 3.5) / 4 if words else 0.0


def _words(formulation: str) -> str:
    """What the name adds to its entry in `FAMILIES`, without numbers: ``/cos`` of ``eps/cos``."""
    entry = known(formulation)
    return re.sub(r"[(),]", "", _NUMBER.sub("", formulation)).removeprefix(entry) if entry else ""


def _numbers(formulation: str) -> list[float]:
    found = [float(text) for text in _NUMBER.findall(formulation)]
    return [max(-1e6, min(1e6, number)) for number in found]


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


_FROM_XYZ = np.array(
    [
        [3.2404542, -1.5371385, -0.4985314],
        [-0.9692660, 1.8760108, 0.0415560],
        [0.0556434, -0.2040259, 1.0572252],
    ]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])


@cache
def _hex(hue: float, chroma: float, light: float) -> str:
    """CIELAB (D65) to sRGB, with as much chroma as fits."""
    while True:
        a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
        middle = (light + 16) / 116
        f = np.array([middle + a / 500, middle, middle - b / 200])
        xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * _WHITE
        linear = _FROM_XYZ @ xyz
        if chroma <= 0 or (linear.min() >= -1e-4 and linear.max() <= 1.0001):
            break
        chroma -= 1.0
    linear = linear.clip(0, 1)
    parts = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts.clip(0, 1))
