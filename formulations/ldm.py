"""The discrete LDM schedule as a continuous path, from a float64 table."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

STEPS, BETA_FIRST, BETA_LAST = 1000, 0.00085, 0.012


def alphas_bar() -> Tensor:
    """``prod (1 - beta)``, ``[1000]``, float64; sqrt(beta) is linear from sqrt(0.00085) to sqrt(0.012)."""
    root = torch.linspace(BETA_FIRST**0.5, BETA_LAST**0.5, STEPS, dtype=torch.float64)
    return torch.cumprod(1 - root**2, 0)


@lru_cache(maxsize=8)
def log_snr_table(device: str) -> Tensor:
    """``log(abar / (1 - abar))``, ``[1000]``, from 7.069 to -5.364."""
    bar = alphas_bar()
    return torch.log(bar / (1 - bar)).to(device)


@lru_cache(maxsize=8)
def zero_terminal_table(device: str) -> Tensor:
    """``atan2(a, b)``, ``[1000]``, of the table rescaled so that a = 0 at the last step and a_0 is kept."""
    a = alphas_bar().sqrt()
    a = a[0] * (a - a[-1]) / (a[0] - a[-1])
    return torch.asin(a).to(device)


def slopes(table: Tensor) -> Tensor:
    """Derivatives by index of the monotone cubic through a monotone table, ``[1000]``.

    Harmonic means of the differences at both sides, the rule of PCHIP (Fritsch and Butland 1984, SIAM J. Sci. Stat. Comput.
    5(2)); at the ends the parabola through the last three entries.
    """
    d = table.diff()
    inner = 2 * d[:-1] * d[1:] / (d[:-1] + d[1:])
    return torch.cat([(3 * d[:1] - d[1:2]) / 2, inner, (3 * d[-1:] - d[-2:-1]) / 2])


def read(table: Tensor, t: Tensor) -> Tensor:
    """Monotone cubic interpolation with index i at t = i / 999, continued linearly beyond the ends.

    Its derivative is continuous: an Euler step in t uses it.
    """
    place = t.double() * (STEPS - 1)
    inside = place.clamp(0, STEPS - 1)
    i = inside.detach().floor().clamp(0, STEPS - 2).long()
    z, slope = inside - i, slopes(table)
    low = (1 - z) ** 2 * ((1 + 2 * z) * table[i] + z * slope[i])
    high = z**2 * ((3 - 2 * z) * table[i + 1] + (z - 1) * slope[i + 1])  # exactly the entry at z = 1
    return low + high + (place - inside) * torch.where(place < STEPS / 2, slope[0], slope[-1])


def ldm(t: Tensor) -> tuple[Tensor, Tensor]:
    """``(a, b)`` with a^2 + b^2 = 1 and the interpolated log-SNR."""
    x = read(log_snr_table(str(t.device)), t)
    return torch.sigmoid(x).sqrt(), torch.sigmoid(-x).sqrt()


def zero_terminal(t: Tensor) -> tuple[Tensor, Tensor]:
    """``(sin, cos)`` of the interpolated angle; a is exactly 0 at t = 1."""
    angle = read(zero_terminal_table(str(t.device)), t)
    return torch.sin(angle), torch.cos(angle)
