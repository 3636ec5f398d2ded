"""Targets: what the network outputs, ``p x + q n``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy
from formulations.formulation import Point, Scalar, TargetFunction

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

Pair = tuple["Tensor", "Tensor"]


def clean(at: Point) -> Pair:
    """(p, q) = (1, 0): the data x; det = -b."""
    return torch.zeros_like(at.a) + 1, torch.zeros_like(at.a)


def noise(at: Point) -> Pair:
    """(p, q) = (0, 1): the noise n; det = a."""
    return torch.zeros_like(at.a), torch.zeros_like(at.a) + 1


def v(at: Point) -> Pair:
    """(p, q) = (-b, a): v-prediction (Salimans and Ho 2022, arXiv 2202.00512); det = a^2 + b^2."""
    return -at.b, at.a


def velocity(at: Point) -> Pair:
    """(p, q) = (da/dt, db/dt): the velocity of x_t along its path, n - x for rectified flow."""
    return at.da, at.db


def karras(sd: float = 0.5) -> TargetFunction:
    """F of EDM: (p, q) = (b / (sd r), -sd a / r), r = sqrt(b^2 + sd^2 a^2); det = -r / sd.

    With s = b / a: ``(s / (sd R), -sd / R)``, ``R = sqrt(s^2 + sd^2)``, the row that D = c_skip x_t + c_out F
    implies; ``w = 1`` is Karras' D-space loss with weight (s^2 + sd^2) / (s sd)^2. Karras et al. 2022, arXiv
    2206.00364, table 1.

    Raises:
        UserError: if ``sd <= 0``.
    """
    if not sd > 0:
        raise UserError(f"F needs sd > 0, not {sd:g}")

    def target(at: Point) -> Pair:
        r = torch.hypot(at.b, sd * at.a)
        return at.b / (sd * r), -sd * at.a / r

    return target


def karras_input(sd: float) -> Scalar:
    """c_in = 1 / sqrt(b^2 + sd^2 a^2), which brings x_t to unit deviation for data of deviation ``sd``."""
    return lambda at: 1 / torch.hypot(at.b, sd * at.a)


def quarter_log_sigma(at: Point) -> Tensor:
    """c_noise = ln(b / a) / 4, EDM's time input."""
    return torch.log(at.b / at.a) / 4


TARGETS: dict[str, tuple[Callable[..., TargetFunction], tuple[float, ...], str]] = {
    "x": (lambda: clean, (), "x"),
    "eps": (lambda: noise, (), "n"),
    "v": (lambda: v, (), "-b x + a n"),
    "u": (lambda: velocity, (), "a' x + b' n"),
    "F": (karras, (0.5,), "b/(sd r) x - sd a/r n, r = sqrt(b^2 + sd^2 a^2)"),
}
"""Name -> (constructor, default parameters, formula)."""
