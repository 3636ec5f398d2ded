"""The check that a solver must pass: on every path a whole table, and against a flow that is known exactly its order."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import formulations
from bench.solvers.solver import Solver, follow, get
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy
from flowbench._core.registry import blame
from formulations import Formulation

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

PATHS = ("rf", "v/cos", "edm(-1.2,1.2)", "eps/linear")
"""Straight, curved, with a time of its own, and one that ends short of noise."""
SMOOTH = PATHS[:2]
"""Those on which an order can be seen: no step is long, and the grid is even."""
COUNTS = (1, 2, 5, 50)
WIDTHS = (0.3, 1.7)
"""Standard deviations of the data; a width of 1 would let nothing change on the curved path."""
COARSE, FINE = 33, 129
CLOCKS = (0.98, 0.02)
TOLERANCE = 0.25
"""By how much the order that is seen may lie below the declared one."""
CLEAN = 1e-3
"""Noise that may be left in an image."""
ROUNDING = 1e-11
"""Errors below it show no order."""


def check(name: str) -> list[str]:
    """Run every check on the solver of that name; return a line for each.

    Checked: for 1 to 50 steps on four paths and both grids the table is finite, begins where the grid begins, and has the
    declared number of evaluations; where x^ and n^ do not change it ends at x^; with the exact denoiser of normal data the
    error where the last step begins falls with the declared order (of a solver that adds noise, the error of the deviation).
    That flow is linear: it cannot show every mistake of a method of order 3 or more.

    Raises:
        UserError: the first check that fails, as one sentence.
    """
    solver = get(name)
    with blame(f"solver {name!r}"):
        return [_tables(solver), _end(solver), *(_order(solver, path) for path in SMOOTH)]


def _tables(solver: Solver) -> str:
    depths = set()
    for path in PATHS:
        f = formulations.get(path)
        for count in counts(solver):
            for times in (f.grid(count), f.clock_grid(count)):
                depths.add((count, solver(f, times).image.shape[1]))
    if len(depths) > len(counts(solver)):
        raise _fail(solver, "the number of evaluations that a state combines depends on the formulation")
    counts_text = ", ".join(f"{solver.evaluations(count)} of {count}" for count in counts(solver))
    return f"tables: finite, from where the grid begins; evaluations by steps: {counts_text}"


def counts(solver: Solver) -> list[int]:
    """Numbers of steps with which it is tried."""
    return sorted({max(count, solver.least) for count in COUNTS})


def _end(solver: Solver) -> str:
    for path in SMOOTH:
        f = formulations.get(path)
        made = solver(f, f.grid(COUNTS[-1]))
        left = max(abs(float(made.image[-1].sum()) - 1), abs(float(made.noise[-1].sum())))
        if left > CLEAN:
            raise _fail(
                solver, f"its last state is not data: on {path!r} {left:.1e} is left where x^ is steady"
            )
    return "end: the last state is data"


def _order(solver: Solver, path: str) -> str:
    f = formulations.get(path)
    coarse, fine = (error(solver, f, count) for count in (COARSE, FINE))
    if fine < ROUNDING:
        return f"order {solver.order} on {path}: exact"
    seen = math.log(coarse / fine) / math.log(FINE / COARSE)
    if not seen > solver.order - TOLERANCE:
        raise _fail(
            solver,
            f"its order is declared as {solver.order}, but on {path!r} its error falls from {coarse:.1e} at {COARSE} "
            f"steps to {fine:.1e} at {FINE}, as that of order {seen:.1f}",
        )
    return f"order {solver.order} on {path}: {seen:.2f}"


def error(solver: Solver, f: Formulation, count: int) -> float:
    """The largest error over WIDTHS s of the state where a solver's last step begins, relative to the exact flow.

    Steps are even between CLOCKS, so that none is long for a method in log-SNR. For data x ~ N(0, s^2)

        x_t has the deviation sqrt(a^2 s^2 + b^2),   x^ = a s^2 x_t / (a^2 s^2 + b^2),   n^ = b x_t / (a^2 s^2 + b^2)

    States are ``[WIDTHS, 1 + N]``, their parts by the noise at the start and by that of each evaluation: all are linear.
    """
    grid = f.at_clock(torch.linspace(*CLOCKS, count, dtype=torch.float64))
    made = solver(f, grid)
    at, width = f.point(made.times), torch.tensor(WIDTHS, dtype=torch.float64)[:, None]
    parts, last = (
        torch.eye(1 + len(made.times), dtype=torch.float64),
        int((made.times >= grid[-1]).nonzero()[-1]),
    )
    deviations = [(a**2 * width**2 + b**2).sqrt() for a, b in zip(at.a, at.b, strict=True)]
    states: list[Tensor] = []

    def decoded(i: int, x: Tensor) -> tuple[Tensor, Tensor]:
        states.append(x)
        clean, noise = at.a[i] * width**2 / deviations[i] ** 2, at.b[i] / deviations[i] ** 2
        return clean * x, noise * x

    follow(made, deviations[0] * parts[0], decoded, lambda i: parts[i + 1].expand(len(WIDTHS), -1))
    return float((states[last].square().sum(1, keepdim=True).sqrt() / deviations[last] - 1).abs().max())


def _fail(solver: Solver, what: str) -> UserError:
    return UserError(f"solver {solver.name!r} fails its check: {what}")
