"""Shifts that depend on the number of image tokens: ``fluxshift`` and ``sd3shift``.

Both stand for ``shift(alpha,X)`` with an alpha that the size of a network's images gives. A grid of cells replaces them by
that before anything else, so that the name of a trained formulation holds its alpha. Time grids of settings have the same
words (:mod:`bench.config.time_grids`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from flowbench._core.errors import UserError
from flowbench._core.grammar import Call, parse
from samplers.sampler import Sampler
from samplers.sampler_registry import register
from samplers.study import positive

DIGITS = 4
"""Significant digits of an alpha."""


def flux_alpha(tokens: int) -> float:
    """alpha = e^mu, mu = 0.5 + 0.65 (tokens - 256) / 3840: 1.65 at 256 tokens, 1.88 at 1,024, 3.16 at 4,096.

    The rule of FLUX.1 (``base_shift`` 0.5, ``max_shift`` 1.15); a straight line also below 256 and above 4,096 tokens.
    """
    return math.exp(0.5 + (1.15 - 0.5) * (tokens - 256) / (4096 - 256))


def sd3_alpha(tokens: int, base: float) -> float:
    """alpha = sqrt(m / n), m the image tokens and n = ``base`` those at which nothing is shifted.

    Esser et al. 2024, arXiv 2403.03206, equation 23, where m and n count pixels: with one autoencoder and one size of
    patches the ratio is the same.

    Raises:
        UserError: if ``base <= 0``.
    """
    positive("sd3shift", "base", base)
    return math.sqrt(tokens / base)


RULES: dict[str, tuple[Callable[..., float], int]] = {
    "fluxshift": (flux_alpha, 0),
    "sd3shift": (sd3_alpha, 1),
}
"""Name -> alpha by the number of image tokens and further numbers, and how many of these there are."""
_RULE = re.compile(rf"(?<![\w.])(?:{'|'.join(RULES)})(?![\w.])")


def needs_tokens(name: str) -> bool:
    """Whether a name of a sampler, a formulation or a time grid depends on the number of image tokens."""
    return _RULE.search(name) is not None


def at_tokens(name: str, tokens: int) -> str:
    """The name with every such rule replaced by ``shift(alpha,X)``, alpha rounded to four significant digits.

    Raises:
        UserError: parameters that the rule does not have.
    """
    while found := _RULE.search(name):
        begin, end = found.span()
        end = _closed(name, end) if name.startswith("(", end) else end
        name = f"{name[:begin]}{shift_of(parse(name[begin:end]), tokens)}{name[end:]}"
    return name


def shift_of(rule: Call, tokens: int) -> Call:
    """``shift(alpha,X)`` for ``fluxshift(X)`` or ``sd3shift(base,X)``; raises UserError."""
    alpha, count = RULES[rule.word]
    numbers = [arg for arg in rule.args if not isinstance(arg, Call)]
    if len(numbers) != count:
        form = rule.word + ("(base)" if count else "")
        raise UserError(f"{str(rule)!r}: the form is {form!r}, or with a sampler as its last parameter")
    rounded = float(f"{alpha(tokens, *numbers):.{DIGITS}g}")
    return Call("shift", (rounded, *(arg for arg in rule.args if isinstance(arg, Call))))


def _closed(text: str, begin: int) -> int:
    """The end of the parenthesis that opens at ``begin``."""
    depth = 0
    for i, char in enumerate(text[begin:], begin):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return i + 1
    return len(text)


def unresolved(name: str) -> UserError:
    """The mistake of using such a rule where no network is."""
    usual = shift_of(Call(name, (256.0,) * RULES[name][1]), 1024)
    return UserError(
        f"{name} depends on the number of image tokens, which a grid takes from its networks: "
        f"write shift(alpha), for example {str(usual)!r} for 1,024 tokens"
    )


@register("fluxshift(X)")
def fluxshift(X: Sampler = "uniform") -> Sampler:  # type: ignore[assignment]
    """``shift(alpha,X)`` with alpha = e^mu, mu linear in the image tokens of the network: 0.5 at 256, 1.15 at 4,096.

    Raises:
        UserError: always, as a grid has to replace it (``at_tokens``).
    """
    raise unresolved("fluxshift")


@register("sd3shift(base,X)")
def sd3shift(base: float, X: Sampler = "uniform") -> Sampler:  # type: ignore[assignment]
    """``shift(alpha,X)`` with alpha = sqrt(m / base), m the image tokens of the network.

    Raises:
        UserError: always, as a grid has to replace it (``at_tokens``).
    """
    raise unresolved("sd3shift")
