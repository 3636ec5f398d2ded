"""What a timestep sampler is: a quantile function ``u in (0, 1) -> t in (0, 1)``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

Quantile = Callable[["Tensor"], "Tensor"]


@dataclass(frozen=True, eq=False)
class Sampler:
    """Where training looks: ``t = quantile(u)`` for ``u`` uniform in (0, 1); t = 0 is data, t = 1 noise.

    As a quantile function rather than a random generator it lets one stratified ``u`` serve every
    formulation. Monotone in ``u``, in either direction (``mode`` decreases).

    Attributes:
        quantile: elementwise map of float64 ``u`` to float64 ``t``, any shape.
        density: optional closed form ``t -> pi(t)``; derived from ``quantile`` where absent.
        name: canonical name; set by the registry.
        by_clock: whether ``t`` is meant as the clock ``b / (a + b)`` of a path rather than its native time.
        switch: ``(at, sampler)``: from training progress ``at`` on, ``sampler`` takes over (a curriculum).
    """

    quantile: Quantile
    density: Quantile | None = None
    name: str = ""
    switch: tuple[float, Sampler] | None = None
    by_clock: bool = False

    def __call__(self, u: Tensor, progress: float = 0.0) -> Tensor:
        """``t`` for ``u``, float64, at ``progress`` in [0, 1] of the training."""
        return self.at(progress).quantile(u.double())

    def __repr__(self) -> str:
        return f"Sampler({self.name!r})"

    def at(self, progress: float) -> Sampler:
        """The sampler in force at ``progress`` in [0, 1]."""
        if self.switch is not None and progress >= self.switch[0]:
            return self.switch[1].at(progress)
        return self

    def lift(self, change: Callable[[Sampler], Sampler]) -> Sampler:
        """``change`` applied before and after the switch, for modifiers of a curriculum."""
        changed = change(replace(self, switch=None))
        changed = replace(changed, by_clock=changed.by_clock or self.by_clock)
        if self.switch is None:
            return changed
        return replace(changed, switch=(self.switch[0], self.switch[1].lift(change)))

    @property
    def increasing(self) -> bool:
        """Whether ``t`` grows with ``u``."""
        low, high = self.quantile(torch.tensor([0.3, 0.7], dtype=torch.float64)).tolist()
        return bool(low < high)

    def cdf(self, t: Tensor) -> Tensor:
        """``P(T <= t)``, float64, by bisection of the quantile function (54 halvings: float64 accuracy)."""
        t, up = t.double(), self.increasing
        u = bisect(lambda u: self.quantile(u if up else 1 - u), t)
        return torch.where(t >= 1, torch.ones_like(u), torch.where(t <= 0, torch.zeros_like(u), u))

    def pdf(self, t: Tensor) -> Tensor:
        """Density ``pi(t)``, float64: the closed form if there is one, else ``1 / |dt/du|``."""
        if self.density is not None:
            return self.density(t.double())
        u = self.cdf(t) if self.increasing else 1 - self.cdf(t)
        return 1 / rates(lambda z: (self.quantile(z),), u)[0].abs()


def rates(function: Callable[[Tensor], tuple[Tensor, ...]], t: Tensor) -> tuple[Tensor, ...]:
    """Derivatives of an elementwise function at ``t``, by forward-mode differentiation."""
    t = t.contiguous()  # jvp refuses expanded tensors
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", category=FutureWarning, module="torch"
        )  # torch's own, at the first use
        return tuple(torch.func.jvp(function, (t,), (torch.ones_like(t),))[1])


def bisect(function: Quantile, value: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """``z`` in (low, high) with ``function(z) = value``, for an increasing function; no host sync."""
    lo, hi = torch.full_like(value, low), torch.full_like(value, high)
    for _ in range(54):
        middle = (lo + hi) / 2
        below = function(middle) < value
        lo, hi = torch.where(below, middle, lo), torch.where(below, hi, middle)
    return (lo + hi) / 2
