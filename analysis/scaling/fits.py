"""The laws of a scaling experiment: that of the compute frontier, and exponents against parameters and steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analysis.scaling import law
from analysis.scaling.frontier import on_frontier
from analysis.scaling.law import Law
from analysis.scaling.noise import Means, interval
from analysis.scaling.scaling_runs import Runs
from analysis.stats.association import Array
from analysis.tables.wording import count
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

CONSTANTS, LINE = 3, 2
"""Of the law of the frontier, and of a straight line: what has no more points than constants fits them whatever they are."""
DECADES, POINTS = 2.0, 5
"""A fit to less compute or to fewer runs gives a bound on its constants at best."""


@dataclass(frozen=True, eq=False)
class Frontier:
    """The law of the runs that are ``on`` ``[R]`` the compute frontier, and the ``drawn`` ones of other seeds, each of its
    own frontier. ``law`` is None where no more runs are on it than it has constants. ``warnings`` are sentences."""

    on: NDArray[np.bool_]
    law: Law | None
    drawn: Law | None
    warnings: tuple[str, ...]

    def band(self, compute: Array) -> tuple[Array, Array] | None:
        """Pointwise 95 % limits of the law at ``compute`` ``[n]``; None without draws."""
        if self.drawn is None:
            return None
        low, high = np.percentile(self.drawn(compute), [2.5, 97.5], axis=0)
        return low, high


def frontier(runs: Runs, loss: Means) -> Frontier:
    """Fit the law of the compute frontier."""
    compute = runs.compute
    on = on_frontier(runs.depth, compute, loss.values)
    points = int(on.sum())
    if points <= CONSTANTS:
        fits_any = f"a law of {CONSTANTS} constants passes through any {CONSTANTS} points"
        return Frontier(
            on, None, None, (f"no law: the compute frontier has {count(points, 'run')}, and {fits_any}",)
        )
    found = law.fit(compute, loss.values, on)
    drawn = None
    if loss.draws is not None:
        drawn = law.fit(compute, loss.draws, on_frontier(runs.depth, compute, loss.draws))
    return Frontier(on, found, drawn, tuple(_warnings(found, drawn, points, compute[on])))


def _warnings(found: Law, drawn: Law | None, points: int, compute: Array) -> Iterator[str]:
    """What makes a law doubtful."""
    decades, (no_floor, odd) = float(np.log10(compute.max() / compute.min())), found.at_bound
    if decades < DECADES:
        yield (
            f"the frontier spans {decades:.1f} decades of compute: E and alpha are bounded at best, not known "
            f"(two decades or more are needed)"
        )
    if points < POINTS:
        yield f"{points} runs on the frontier for {CONSTANTS} constants: the fit cannot show that it is wrong"
    if no_floor:
        yield "E is 0, its bound: these runs show no floor, and alpha is a mere slope"
    elif drawn is not None and interval(drawn.e)[0] <= 0:
        yield "the interval of E ends at 0, its bound: that there is no floor is not excluded"
    if odd:
        low, high = law.ALPHA
        yield f"alpha is at an end of what is tried, {low:g} to {high:g}: these losses follow no power law"


def table(runs: Runs, loss: Means, found: Frontier) -> pd.DataFrame:
    """One row for each law: ``against``, ``runs``, the ends ``start`` and ``end`` of its range, ``alpha``, ``e`` and ``a``
    each with ``_low`` and ``_high``; ``at`` is where ``a`` is, ``error`` the root mean square of log residuals.

    After the compute frontier come straight lines in logarithms, with alpha as the exponent: against parameters at the
    largest number of steps that three depths have, and against steps at each depth that has three.
    """
    rows = []
    if found.law is not None:
        row = _row("compute, on the frontier", runs.compute[found.on])
        for name in ("alpha", "e", "a"):
            low, high = interval(None if found.drawn is None else getattr(found.drawn, name))
            row |= {name: float(getattr(found.law, name)), f"{name}_low": low, f"{name}_high": high}
        rows.append(row | {"at": found.law.x0, "error": float(found.law.error)})
    counts = pd.Series(runs.steps).value_counts()
    shared = counts[counts > LINE]
    if len(shared):
        most = int(shared.index.max())
        rows.append(_line(f"parameters, at {most} steps", runs.parameters, loss, runs.steps == most))
    for depth in np.unique(runs.depth):
        if (here := runs.depth == depth).sum() > LINE:
            rows.append(_line(f"steps, at depth {depth}", runs.steps.astype(np.float64), loss, here))
    columns = ["against", "runs", "start", "end", "alpha", "alpha_low", "alpha_high", "e", "e_low", "e_high"]
    return pd.DataFrame(rows, columns=[*columns, "a", "a_low", "a_high", "at", "error"])


def _row(against: str, x: Array) -> dict[str, object]:
    return {"against": against, "runs": len(x), "start": x.min(), "end": x.max()}


def _line(against: str, x: Array, loss: Means, here: NDArray[np.bool_]) -> dict[str, object]:
    low, high = interval(None if loss.draws is None else law.slope(x[here], loss.draws[:, here]))
    found = {"alpha": float(law.slope(x[here], loss.values[here])), "alpha_low": low, "alpha_high": high}
    return _row(against, x[here]) | found
