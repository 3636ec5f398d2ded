"""Sampling grids, and the inverse of the clock. Grids descend from ``start`` and leave out t = 0."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from formulations.formulation import Formulation
else:
    torch = lazy("torch")

NOISIEST = 80.0
"""b / a where sampling begins if it cannot begin at pure noise (Karras et al. 2022, arXiv 2206.00364)."""
CLEANEST = 0.002
"""b / a where Karras' grid ends, from the same source."""
ROUNDING = 1e-6
"""By how much a listed time may differ from the one that it is a rounding of."""
MIN_DET = 1e-3
"""|det| over the norms of its rows below which an output no longer tells clean from noise."""


def counted(steps: int) -> int:
    """``steps``, checked to be at least 1."""
    if steps < 1:
        raise UserError(f"a sampling grid needs at least one step, not {steps}")
    return steps


def invert(function: Callable[[Tensor], Tensor], value: Tensor, domain: tuple[float, float]) -> Tensor:
    """``t`` in ``domain`` with ``function(t) = value``, for an increasing elementwise function, float64."""
    lo, hi = torch.full_like(value, domain[0]), torch.full_like(value, domain[1])
    for _ in range(60):
        middle = (lo + hi) / 2
        below = function(middle) < value
        lo, hi = torch.where(below, middle, lo), torch.where(below, hi, middle)
    return (lo + hi) / 2


def at_ratio(f: Formulation, ratio: Tensor) -> Tensor:
    """Native times where b / a is ``ratio``."""
    return invert(lambda t: f.point(t).ratio, ratio.double(), f.domain)


def relative_det(f: Formulation, t: Tensor) -> Tensor:
    """``|det| / (|(a, b)| |(p, q)|)``: the sine of the angle between input and output as rows on (x, n)."""
    at = f.point(t)
    return at.det.abs() / (torch.hypot(at.a, at.b) * torch.hypot(at.p, at.q))


def start(f: Formulation) -> float:
    """See ``Formulation.start``."""
    end = torch.ones((), dtype=torch.float64)
    if f.top is not None:
        return float(at_ratio(f, end * f.top).clamp(max=1.0))
    at = f.point(end)
    seen = torch.stack([*f.coeffs(end)[:6], at.da, at.db])
    if bool(seen.isfinite().all()) and float(relative_det(f, end)) > MIN_DET:
        return 1.0
    return float(at_ratio(f, torch.tensor(NOISIEST, dtype=torch.float64)))


def uniform(f: Formulation, steps: int) -> Tensor:
    """``start (1 - k / steps)``: equally spaced native times."""
    return f.start * (1 - torch.arange(steps, dtype=torch.float64) / steps)


def ends(f: Formulation) -> tuple[float, float]:
    """b / a where a grid in it begins, 80 or the path's noisiest or another ``top``, and where it ends, 0.002 or the path's
    cleanest."""
    cleanest, noisiest = f.point(torch.tensor([0.0, 1.0], dtype=torch.float64)).ratio.tolist()
    return min(f.top or NOISIEST, noisiest), max(CLEANEST, cleanest)


def karras(f: Formulation, steps: int) -> Tensor:
    """b / a = (top^(1/7) + k / (steps - 1) (bottom^(1/7) - top^(1/7)))^7 between :func:`ends`, from the same source with
    rho = 7."""
    passed = torch.arange(steps, dtype=torch.float64) / max(steps - 1, 1)
    top, bottom = (end ** (1 / 7) for end in ends(f))
    return at_ratio(f, (top + passed * (bottom - top)) ** 7)


def log_snr(f: Formulation, steps: int) -> Tensor:
    """Equally spaced in log(a / b) between :func:`ends`, as for DPM-Solver (arXiv 2206.00927)."""
    top, bottom = (math.log(end) for end in ends(f))
    return at_ratio(f, torch.linspace(top, bottom, steps, dtype=torch.float64).exp())


def at_times(f: Formulation, times: Sequence[float]) -> Tensor:
    """These native times, float64. Raises :class:`UserError` if sampling cannot begin at the first one."""
    found = torch.tensor(times, dtype=torch.float64)
    _check_begin(f, float(found[0]), f"t = {times[0]:g}")
    return found


def at_log_snrs(f: Formulation, log_snrs: Sequence[float]) -> Tensor:
    """Native times where 2 log(a / b) has these values, float64.

    Raises:
        UserError: if the path never reaches one of them, or sampling cannot begin at the first one.
    """
    wanted = torch.tensor(log_snrs, dtype=torch.float64)
    found = at_ratio(f, (-wanted / 2).exp())
    miss = (f.point(found).log_snr - wanted).abs() > ROUNDING
    if bool(miss.any()):
        wrong = float(wanted[miss][0])
        raise UserError(f"{f.name or 'this formulation'} has no time whose log-SNR 2 log(a/b) is {wrong:g}")
    _check_begin(f, float(found[0]), f"the log-SNR {log_snrs[0]:g}")
    return found


def _check_begin(f: Formulation, first: float, what: str) -> None:
    """Raise UserError if times begin before ``start``."""
    if first > f.start + ROUNDING:
        level = float(f.point(torch.tensor(f.start, dtype=torch.float64)).log_snr)
        raise UserError(
            f"{f.name or 'this formulation'} cannot be sampled from {what}, where its output cannot be decoded: its own "
            f"grid begins at t = {f.start:.6g}, the log-SNR {level:.7g}"
        )


def by_clock(f: Formulation, steps: int, alpha: float = 1.0) -> Tensor:
    """``s_0 alpha r / (1 + (alpha - 1) r)``, r = 1 - k / steps, in the clock, from that of ``start``, s_0; equally spaced
    for alpha = 1.

    From pure noise, s_0 = 1, b / a is alpha times that of the equally spaced grid. Esser et al. 2024, arXiv 2403.03206,
    equation 23.
    """
    first = torch.tensor([f.start], dtype=torch.float64)
    left = 1 - torch.arange(1, steps, dtype=torch.float64) / steps
    rest = f.clock(first) * (alpha * left / (1 + (alpha - 1) * left))
    return torch.cat([first, f.at_clock(rest)])


TABLES: dict[str, Callable[[Formulation, Sequence[float]], Tensor]] = {
    "times": at_times,
    "logsnrs": at_log_snrs,
}
"""Native times from a table's numbers, by its word."""
