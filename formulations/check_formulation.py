"""The conformance check that a formulation must pass before it is trained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy
from flowbench._core.registry import blame
from formulations import grids
from formulations.algebra import mix, split, spread
from formulations.formulation import EDGE_U, Coeffs, Formulation

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

STEPS = 50
"""Length of the sampling grids that are checked."""
NEAR_DATA, OFF_DATA, NOISE_LEFT = 1e-30, 0.01, 0.1
"""A time next to data, and how far from 1 and 0 a and b may be there: images are what the last step leaves, and LDM's table
begins at a = 0.9996, b = 0.029."""


def check(f: Formulation, steps: Iterable[int] = (STEPS,)) -> list[str]:
    """Runs every check; returns one line per passed check.

    Checked: u -> t is monotone and stays in (0, 1); the seven scalars are finite, w >= 0, at training times
    and on both sampling grids; the path begins at a = 1, b = 0, its clock rises from data to noise and reaches
    1/16 ... 15/16; |det| stays above 1e-3 of the norms of its rows on the grids of ``steps``; (x, n) -> output
    -> (x, n) returns the same; the dtype is kept; ``[B]`` and ``[E, B]`` give the same values.

    Raises:
        UserError: the first check that fails, as one sentence; errors inside a plugin's functions name file
            and line.
    """
    try:
        with blame(f"formulation {f.name!r}"):
            passed = [part(f) for part in (_times, _shapes, _clock, _finite)]
            return [*passed, *(_grids(f, count) for count in dict.fromkeys(steps)), _round_trip(f)]
    except UserError as error:
        raise error if repr(f.name) in str(error) else _fail(f, str(error)) from error


def _u() -> Tensor:
    edges = torch.tensor([0.0, EDGE_U, 1 - EDGE_U, 1.0], dtype=torch.float64)
    return torch.cat([edges, torch.linspace(1e-4, 1 - 1e-4, 1001, dtype=torch.float64)]).sort().values


def _fail(f: Formulation, what: str) -> UserError:
    return UserError(f"formulation {f.name!r} fails its check: {what}")


def _times(f: Formulation) -> str:
    u = _u()[1:-1]
    for progress in (0.0, 1.0):
        raw = f.law(u, progress)
        if not isinstance(raw, torch.Tensor) or raw.shape != u.shape:
            raise _fail(f, f"its sampler returned {_kind(raw)} for u of shape {list(u.shape)}")
        if not bool(raw.isfinite().all()) or bool((raw < 0).any()) or bool((raw > 1).any()):
            raise _fail(f, "its sampler leaves [0, 1] or is not finite")
        step = raw.diff()
        if not (bool((step >= 0).all()) or bool((step <= 0).all())) or bool(raw[0] == raw[-1]):
            raise _fail(f, "its sampler is not monotone in u")
        if not torch.equal(raw, f.law(u, progress)):
            raise _fail(f, "its sampler gives different times for the same u")
    return "times: monotone in u, inside (0, 1)"


def _kind(value: object) -> str:
    return f"shape {list(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__


def _finite(f: Formulation) -> str:
    training, sampling = f.times(_u()), torch.cat([f.grid(STEPS), f.clock_grid(STEPS)])
    for t, fields in (
        (training, Coeffs._fields),
        (sampling, Coeffs._fields[:-1]),
    ):  # w has no part in sampling
        for name, value in zip(fields, f.coeffs(t), strict=False):
            bad = ~value.isfinite()
            if bool(bad.any()):
                raise _fail(f, f"{name} is not finite at t = {float(t[bad][0]):g}")
    w = f.coeffs(training).w
    if bool((w < 0).any()):
        raise _fail(f, f"w is negative at t = {float(training[w < 0][0]):g}")
    return "coefficients: finite at training and sampling times, w >= 0"


def _clock(f: Formulation) -> str:
    t = torch.linspace(1e-4, 1 - 1e-4, 1001, dtype=torch.float64)
    s = f.clock(t)
    if not bool((s.diff() > 0).all()) or float(s[0]) > 0.5 or float(s[-1]) < 0.5:
        raise _fail(f, "the clock b/(a+b) must rise with t, from data at t = 0 to noise at t = 1")
    here = f.point(torch.tensor([NEAR_DATA], dtype=torch.float64))
    a, b = float(here.a), float(here.b)
    if not (abs(a - 1) <= OFF_DATA and abs(b) <= NOISE_LEFT):
        raise _fail(
            f, f"its path must begin at the data, a = 1 and b = 0 at t = 0; there a = {a:.3g} and b = {b:.3g}"
        )
    f.at_clock(torch.linspace(1 / 16, 15 / 16, 8, dtype=torch.float64))  # the levels of validation
    return "path: begins at the data, the clock b/(a+b) rises to noise"


def _grids(f: Formulation, steps: int) -> str:
    for kind, grid in (("native", f.grid(steps)), ("clock", f.clock_grid(steps))):
        if grid.shape != (steps,) or bool((grid.diff() >= 0).any()):
            raise _fail(f, f"its {kind} sampling grid is not {steps} descending times")
        low = grids.relative_det(f, grid)
        if float(low.min()) < grids.MIN_DET:
            where = float(grid[low.argmin()])
            raise _fail(
                f,
                f"its output cannot be decoded at t = {where:g} of the {kind} grid (a q - b p is about 0)",
            )
    return f"grids of {steps} steps: descending, output decodable (det away from zero)"


def _round_trip(f: Formulation) -> str:
    t = torch.cat([f.grid(STEPS), f.clock_grid(STEPS)])
    draw = torch.Generator().manual_seed(0)
    x, n = torch.randn(2, len(t), 1, 2, 2, generator=draw, dtype=torch.float64)
    c = f.coeffs(t)
    back = split(spread(c.p) * x + spread(c.q) * n, mix(x, n, c), c)
    miss = max(float((back[0] - x).abs().max()), float((back[1] - n).abs().max()))
    if not miss < 1e-6:
        raise _fail(f, f"(x, n) -> output -> (x, n) is off by {miss:.1e}")
    return "round trip: (x, n) -> output -> (x, n)"


def _shapes(f: Formulation) -> str:
    for dtype in (torch.float32, torch.float64):
        flat = f.times(_u().to(dtype))
        wide = flat[:1000].reshape(4, 250)
        if flat.dtype != dtype or any(z.dtype != dtype for z in f.coeffs(wide)):
            raise _fail(f, f"the dtype {dtype} is not kept")
        for name, one, many in zip(Coeffs._fields, f.coeffs(wide[1]), f.coeffs(wide), strict=True):
            if not torch.allclose(one, many[1], rtol=1e-6, atol=0, equal_nan=True):
                raise _fail(f, f"{name} depends on the shape of t; the functions must be elementwise")
    return "shapes: [B] and [E, B], float32 and float64"


def probe(formulation: Formulation) -> list[list[float]]:
    """The seven scalars at seven quantiles: shows a plugin that was edited under an old name."""
    u = torch.tensor([0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95], dtype=torch.float64)
    c = formulation.coeffs(formulation.times(u))
    return [[float(f"{value:.6g}") for value in part.tolist()] for part in c]
