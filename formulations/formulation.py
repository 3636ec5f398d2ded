"""A formulation is seven scalars per sample: ``Coeffs``, and the ``Formulation`` that computes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import samplers
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy
from formulations import grids
from samplers.sampler import rates

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

PathFunction = Callable[["Tensor"], "tuple[Tensor, Tensor]"]
TargetFunction = Callable[["Point"], "tuple[Tensor, Tensor]"]
Scalar = Callable[["Point"], "Tensor"]

EDGE_U = 1e-5
"""``times`` clamps u to [1e-5, 1 - 1e-5], so that heavy tails stay finite."""
EDGE_T = 1e-6
"""``times`` clamps t to [1e-6, 1 - 1e-6], the range in which float32 still holds 1 - t."""


class Coeffs(NamedTuple):
    """Per-sample scalars, tensors of one shape (``[B]`` or ``[E, B]``).

    ``x_t = a x + b n``; ``net(c_in x_t, c_noise) ~ p x + q n``; ``loss = w |net - (p x + q n)|^2``.
    """

    a: Tensor
    b: Tensor
    p: Tensor
    q: Tensor
    c_in: Tensor
    c_noise: Tensor
    w: Tensor


def clock(point: Point) -> Tensor:
    """``s = b / (a + b)``: 0 at data, 1 at noise, the same noise level on every path."""
    return point.b / (point.a + point.b)


def ones(point: Point) -> Tensor:
    """1, the default weight and input scale."""
    return torch.ones_like(point.t)


def same(t: Tensor) -> Tensor:
    """``t``, the default time of a path's ODE."""
    return t


@dataclass(frozen=True, eq=False)
class Point:
    """All quantities of a formulation at time ``t``, each computed on first access, in t's dtype.

    ``a, b`` of the path, their rates ``da, db`` (by forward-mode differentiation), ``p, q`` of the target,
    ``det = a q - b p``, ``ratio = b / a``, ``snr = (a / b)^2``, ``log_snr = 2 log(a / b)``, ``clock = b / (a
    + b)``.
    """

    t: Tensor
    path: PathFunction
    target: TargetFunction

    @cached_property
    def _ab(self) -> tuple[Tensor, Tensor]:
        return pair(self.path(self.t), self.t, "path")

    @cached_property
    def _rates(self) -> tuple[Tensor, Tensor]:
        da, db = rates(lambda z: pair(self.path(z), z, "path"), self.t)
        return da, db

    @cached_property
    def _pq(self) -> tuple[Tensor, Tensor]:
        return pair(self.target(self), self.t, "target")

    @property
    def a(self) -> Tensor:
        return self._ab[0]

    @property
    def b(self) -> Tensor:
        return self._ab[1]

    @property
    def da(self) -> Tensor:
        return self._rates[0]

    @property
    def db(self) -> Tensor:
        return self._rates[1]

    @property
    def p(self) -> Tensor:
        return self._pq[0]

    @property
    def q(self) -> Tensor:
        return self._pq[1]

    @property
    def det(self) -> Tensor:
        return self.a * self.q - self.b * self.p

    @property
    def ratio(self) -> Tensor:
        return self.b / self.a

    @property
    def snr(self) -> Tensor:
        return (self.a / self.b) ** 2

    @property
    def log_snr(self) -> Tensor:
        return 2 * (torch.log(self.a) - torch.log(self.b))

    @property
    def clock(self) -> Tensor:
        return clock(self)


def filled(value: object, t: Tensor, what: str) -> Tensor:
    """``value`` as a tensor of t's shape: numbers are spread, tensors must have that shape.

    Raises:
        UserError: anything else, as one sentence for the author of a plugin.
    """
    if isinstance(value, int | float):
        return torch.full_like(t, float(value))
    if not isinstance(value, torch.Tensor):
        raise UserError(f"{what} returned {type(value).__name__}; expected a tensor of the shape of t")
    if value.shape != t.shape:
        raise UserError(f"{what} returned shape {list(value.shape)} for t of shape {list(t.shape)}")
    return value


def pair(value: object, t: Tensor, what: str) -> tuple[Tensor, Tensor]:
    """Two tensors of t's shape, for ``(a, b)`` and ``(p, q)``; raises UserError like ``filled``."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        kind = f"{len(value)} values" if isinstance(value, tuple | list) else type(value).__name__
        raise UserError(f"{what} returned {kind}; expected two tensors of the shape of t")
    return filled(value[0], t, what), filled(value[1], t, what)


@dataclass(frozen=True, eq=False)
class Formulation:
    """One formulation: a path, a target, a timestep sampler, a weight, and what the network sees.

    Attributes:
        path: t -> (a, b), with ``a/b`` falling in t; t = 0 is data (a = 1, b = 0), t = 1 is noise. Elementwise, any shape.
        target: Point -> (p, q), what the network outputs as a row vector on (x, n).
        sampler: quantile function of the training times, or the name of one.
        weight: Point -> w.
        c_in: Point -> factor on the network's input.
        c_noise: Point -> the network's time input, by default the clock.
        domain: native times at which the path is defined; a little beyond [0, 1] where a table ends short of
        noise. schedule: (formulation, steps) -> native sampling times, for ``grid``.
        top: b / a where sampling begins, instead of ``start``'s own rule.
        ode_time: native time -> the time in which Euler's method steps; sigma for EDM.
        name: canonical name; set by ``get``.
        formula: the formula as one line of text, for listings.
    """

    path: PathFunction
    target: TargetFunction
    sampler: samplers.Sampler | str = "uniform"
    weight: Scalar = ones
    c_in: Scalar = ones
    c_noise: Scalar = clock
    domain: tuple[float, float] = (0.0, 1.0)
    schedule: Callable[[Formulation, int], Tensor] = grids.uniform
    ode_time: Callable[[Tensor], Tensor] = same
    top: float | None = None
    name: str = ""
    formula: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.sampler, str):
            object.__setattr__(self, "sampler", samplers.get(self.sampler))

    def __repr__(self) -> str:
        return f"Formulation({self.name!r})"

    @property
    def law(self) -> samplers.Sampler:
        """``sampler``, for the type checker's sake known to be a ``Sampler``."""
        assert isinstance(self.sampler, samplers.Sampler)
        return self.sampler

    def times(self, u: Tensor, progress: float = 0.0) -> Tensor:
        """Training times for ``u`` uniform in (0, 1), any shape; ``progress`` matters to a curriculum only.

        Computed in float64 and returned in u's dtype, at least float32. ``u`` is clamped to [1e-5, 1 - 1e-5]
        and t to [1e-6, 1 - 1e-6].
        """
        law = self.law.at(progress)
        t = law(u.double().clamp(EDGE_U, 1 - EDGE_U))
        if law.by_clock:
            t = grids.invert(lambda z: self.point(z).clock, t, self.domain)
        t = t.clamp(EDGE_T, 1 - EDGE_T)
        return t.to(torch.promote_types(u.dtype, torch.float32))

    def point(self, t: Tensor) -> Point:
        """The quantities of ``Point`` at native time ``t``, computed in float64."""
        return Point(t.double(), self.path, self.target)

    def coeffs(self, t: Tensor) -> Coeffs:
        """The seven scalars at native time ``t``, any shape; computed in float64 and returned in t's dtype.

        Raises:
            UserError: if a plugin's function returns the wrong type or shape.
        """
        at = self.point(t)
        rest = [filled(getattr(self, k)(at), at.t, k) for k in ("c_in", "c_noise", "weight")]
        return Coeffs(*(z.to(t.dtype) for z in (at.a, at.b, at.p, at.q, *rest)))

    def clock(self, t: Tensor) -> Tensor:
        """``s = b / (a + b)`` at native time ``t``, in t's dtype."""
        return self.point(t).clock.to(t.dtype)

    def at_clock(self, s: Tensor) -> Tensor:
        """Native times whose clock is ``s``, any shape, float64 inside, in s's dtype.

        Raises:
            UserError: if the path never reaches one of them (``eps/linear`` ends at 0.94).
        """
        t = grids.invert(lambda z: self.point(z).clock, s.double(), self.domain)
        miss = (self.point(t).clock - s.double()).abs() > 1e-6
        if bool(miss.any()):
            wrong = float(s[miss].flatten()[0])
            raise UserError(f"{self.name or 'this formulation'} has no time whose clock b/(a+b) is {wrong:g}")
        return t.to(s.dtype)

    @cached_property
    def start(self) -> float:
        """Native time where sampling begins: where b / a is ``top``, or at 1 if the path ends before; without a ``top`` at
        1 if the output can be decoded there, else where b / a = 80.

        Decodable: finite coefficients and rates, and |det| above 1e-3 of the norms of (a, b) and (p, q).
        """
        return grids.start(self)

    def grid(self, steps: int) -> Tensor:
        """Native sampling times ``[steps]``, float64, descending from ``start``.

        The last step goes to the clean estimate, so t = 0 is left out.
        """
        return self.schedule(self, grids.counted(steps))

    def clock_grid(self, steps: int, alpha: float = 1.0) -> Tensor:
        """Sampling times ``[steps]``, float64, equally spaced in the clock from that of ``start``; shifted by ``alpha``."""
        return grids.by_clock(self, grids.counted(steps), alpha)
