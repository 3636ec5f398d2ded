"""``python -m analysis.calibrate``: do 95 % intervals hold in 95 % of cases? By simulation, for every interval we print.

Intervals that are looked at after every seed are in `analysis.stats.optional_stopping`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analysis.ranking.blocks import Blocks
from analysis.ranking.effects import effects
from analysis.runs import options
from analysis.stats import optional_stopping, simulate
from analysis.stats.best import not_separable
from analysis.stats.pareto import fronts
from analysis.stats.position_bootstrap import positions, stability
from analysis.stats.two_way import fit
from analysis.stats.wins import win_rate
from analysis.tables import output
from analysis.tables import table as tables
from flowbench._core.command import INT, outcome
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

SEEDS, JUDGED = (2, 3, 5), 3
LOWEST, HIGHEST = 0.92, 0.98
LEGEND = (
    "coverage of 95 % intervals on simulated tables, mean over formulations; at 3 seeds also the worst of two: of the"
    " noisiest formulation (in position of the truly best) and of the mean of the others",
    "error: of the mean at 3 seeds by chance; verdict: LOW if the worst is below 92 %, HIGH if the mean is above 98 %",
    "level: mean of a formulation; difference: of two, paired; main effect: of two bases, over crossed samplers",
    "best: the group tied with the best contains the best, all being equal (Hsu, family-wise)",
    f"unequal noise: its deviation differs from formulation to formulation, with {simulate.UNEQUAL:g} in the logarithm",
    "position: place in the ranking over 12 settings, on average over formulations; win rate: over two datasets",
    "spread: deviation of the true effects, or difference of the two formulations, in units of the noise of one seed",
    "one 3x, one 5x: one formulation is 3 or 5 times as noisy as all others; unknown which, so the intervals of all are wide"
    " enough for it, and HIGH where all are alike",
    "LOW in position: of many formulations that differ by less than noise, the best is not known as such; whether one"
    " may be is for the marks to say, not for the place",
    "HIGH in position and win rate is the price of whole numbers: their intervals cannot end between two places or two wins,"
    " and are conservative by construction",
)


Hits = Callable[[np.random.Generator, int, int], NDArray[np.float64]]
"""Draws tables of so many seeds, so many of them, and says of each which intervals held, ``[N, 2]``: that of the noisiest
formulation (the truly best of positions), and the share of the others."""


@dataclass(frozen=True)
class Case:
    """One line: the interval, and what the tables are drawn from. ``cost`` of a table is in units of the cheapest."""

    interval: str
    formulations: int
    hits: Hits
    correlation: float = math.nan
    noise: str = "equal"
    spread: float = math.nan
    cost: int = 1


def cases() -> Iterator[Case]:
    """Every line of the table."""
    for interval, held in (("level", _levels), ("difference", _differences), ("best", _best)):
        for count in (6, 30):
            for noise in simulate.KINDS:
                for rho in (0.0, 0.5) if noise.startswith("one") else (0.0, 0.5, 0.8):
                    yield Case(interval, count, _tables(held, count, rho, noise), rho, noise)
    for count in (6, 30):
        yield Case("main effect", count, _main_effects(count), 0.5, cost=10)
    for count in (6, 30):
        for spread in (0.5, 1.0, 2.0):
            yield Case(
                "position", count, _positions(count, spread), spread=spread, cost=20 if count < 10 else 40
            )
    for spread in (0.0, 1.0):
        yield Case("win rate", 2, _wins(spread), spread=spread)


def calibrate(simulations: int, seed: int = 0) -> pd.DataFrame:
    """One row for each of `cases`: the coverage at 2, 3 and 5 seeds, the Monte Carlo error at 3, and the verdict."""
    rows = []
    for i, case in enumerate(cases()):
        number = max(2, simulations // case.cost)
        found = {s: case.hits(np.random.default_rng([seed, i, s]), s, number) for s in SEEDS}
        coverage, weights = found[JUDGED], np.array([1.0, case.formulations - 1.0]) / case.formulations
        mean = {s: float(held.mean(axis=0) @ weights) for s, held in found.items()}
        worst = float(coverage.mean(axis=0).min())
        rows.append(
            {
                "interval": case.interval,
                "formulations": case.formulations,
                "correlation": case.correlation,
                "noise": case.noise,
                "spread": case.spread,
                **{f"seeds_{s}": mean[s] for s in SEEDS},
                "worst": worst,
                "error": float((coverage @ weights).std(ddof=1) / math.sqrt(number)),
                "verdict": "LOW" if worst < LOWEST else "HIGH" if mean[JUDGED] > HIGHEST else "ok",
            }
        )
    return pd.DataFrame(rows)


def _tables(
    held: Callable[[NDArray[np.float64]], NDArray[np.float64]], count: int, rho: float, kind: str
) -> Hits:
    def hits(rng: np.random.Generator, seeds: int, simulations: int) -> NDArray[np.float64]:
        return held(simulate.noise(rng, (simulations, count, seeds), rho, kind))

    return hits


def _levels(y: NDArray[np.float64]) -> NDArray[np.float64]:
    found = fit(y, [""] * y.shape[1], range(y.shape[2])).levels()
    return _noisiest_and_rest((found.low <= 0) & (found.high >= 0))


def _differences(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """With the noisiest formulation, and of the others with the last."""
    model = fit(y, [""] * y.shape[1], range(y.shape[2]))
    held = []
    for other, rest in ((0, slice(1, None)), (y.shape[1] - 1, slice(1, -1))):
        found = model.differences(other)
        held.append(np.mean(((found.low <= 0) & (found.high >= 0))[:, rest], axis=1))
    return np.stack(held, axis=1)


def _best(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """The noisiest is the best, or one of the others."""
    return _noisiest_and_rest(not_separable(fit(y, [""] * y.shape[1], range(y.shape[2])), True))


def _noisiest_and_rest(held: NDArray[np.bool_]) -> NDArray[np.float64]:
    """``[N, 2]`` of ``[N, F]``, the noisiest first."""
    return np.stack([held[:, 0], held[:, 1:].mean(axis=1)], axis=1).astype(np.float64)


def _alike(held: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """``[N, 2]`` where no formulation is noisier."""
    return np.repeat(np.asarray(held, dtype=np.float64)[:, None], 2, axis=1)


def _main_effects(count: int) -> Hits:
    """Three bases by ``count / 3`` samplers."""
    index = pd.MultiIndex.from_product([range(3), range(count // 3)], names=["base", "sampler"])

    def hits(rng: np.random.Generator, seeds: int, simulations: int) -> NDArray[np.float64]:
        held = []
        for y in simulate.noise(rng, (simulations, count, seeds), 0.5):
            columns = pd.MultiIndex.from_product([[""], range(seeds)])
            found = effects(Blocks(pd.DataFrame(y, index, columns), np.full(seeds, 1 / seeds), None))
            assert found is not None
            apart = found.factors[0].differences(0)
            held.append(float(np.mean(((apart.low <= 0) & (apart.high >= 0))[1:])))
        return _alike(held)

    return hits


def _positions(count: int, spread: float) -> Hits:
    """The truly best formulation first."""
    maximise = (True, False)

    def hits(rng: np.random.Generator, seeds: int, simulations: int) -> NDArray[np.float64]:
        held = []
        for i in range(simulations):
            measured, reference = simulate.points(rng, count, seeds, spread)
            true, _ = positions(fronts(np.moveaxis(reference, 0, 2), maximise).mean(axis=(0, 1)))
            rank = fronts(np.moveaxis(measured, 0, 2), maximise).mean(axis=(0, 1))
            found = stability([measured], [""] * count, maximise, rank, draws=200, seed=i)
            best, inside = int(true.argmin()), (found.low <= true) & (true <= found.high)
            held.append([float(inside[best]), float(np.delete(inside, best).mean())])
        return np.array(held)

    return hits


def _wins(spread: float) -> Hits:
    """``spread`` is how far the first of two formulations is ahead."""
    from scipy.special import ndtr

    truth = ndtr(spread / math.sqrt(2))

    def hits(rng: np.random.Generator, seeds: int, simulations: int) -> NDArray[np.float64]:
        values = rng.standard_normal((simulations, 2, 2 * seeds)) + spread * np.array([[1.0], [0.0]])
        found = [win_rate(one, other, True) for one, other in values]
        return _alike([float(w.low <= truth <= w.high) for w in found])

    return hits


def table(frame: pd.DataFrame) -> tables.Table:
    """`calibrate`'s rows as a table."""
    percent, plain = tables.fixed(1, percent=True), tables.fixed(1)
    columns: dict[str, tuple[str, Callable[..., str]]] = {
        "interval": ("interval", str),
        "formulations": ("formulations", str),
        "correlation": ("correlation", plain),
        "noise": ("noise", str),
        "spread": ("spread", plain),
        **{f"seeds_{s}": (f"{s} seeds", percent) for s in SEEDS},
        "worst": ("worst", percent),
        "error": ("error", percent),
        "verdict": ("verdict", str),
    }
    return tables.simple("calibration", frame, columns, LEGEND)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns 0, or 2 after printing one sentence about a mistake of the user's."""
    return outcome(lambda: command(argv))


def command(argv: Sequence[str] | None) -> int:
    """What :func:`main` does, with mistakes as exceptions."""
    made = options.parser(
        "calibrate",
        "How often do our 95 % intervals hold? Simulates tables with known truth and prints the coverage.",
    )
    made.add_argument(
        "--simulations",
        type=INT,
        default=2000,
        metavar="N",
        help="tables, or sequences of seeds, a line (default 2000)",
    )
    made.add_argument("--seed", type=INT, default=0, metavar="N", help="of the random numbers (default 0)")
    made.add_argument("--format", default="table", metavar="|".join(output.FORMATS), help="default: table")
    args = made.parse(argv)
    output.check_format(args.format)
    if args.simulations < 2:
        raise UserError(f"--simulations is {args.simulations}, not a whole number from 2")
    if args.seed < 0:
        raise UserError(f"--seed is {args.seed}, not a whole number from 0")
    found = table(calibrate(args.simulations, args.seed))
    output.show([found, *optional_stopping.tables_of(args.simulations, args.seed)], args.format)
    return 0


if __name__ == "__main__":
    sys.exit(main())
