"""How often a paired difference that is looked at after every seed misleads, by simulation, for `analysis.calibrate`.

Every sequence of seeds is looked at from `FIRST` seeds on, after each, by the interval of `analysis.stats.sequential` and
by the usual t interval of the same level, which holds at a single look that was planned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.stats import sequential
from analysis.stats.sequential import LEVEL
from analysis.stats.two_way import t_quantile
from analysis.tables import table as tables
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

Array = NDArray[np.float64]
Columns = dict[str, tuple[str, Callable[[Any], str]]]
Noise = Callable[[np.random.Generator, tuple[int, ...]], Array]
FIRST, LOOKS, RACE, PLANNED = 3, 1000, 100, 60
"""Seeds at the first look, at the last one, at the last one of a race, and of the power table."""
MARGINS = (0.5, 2.0)
FIELDS = (6, 17)
EFFECTS = (0.5, 1.0, 2.0, 3.0)
BATCH = 500_000
"""Values that are simulated at once."""

NOISES: dict[str, Noise] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "unequal": lambda rng, shape: rng.standard_normal(shape) - 3 * rng.standard_normal(shape),
    "t with 3 df": lambda rng, shape: rng.standard_t(3, shape),
    "log-normal 0.5": lambda rng, shape: rng.lognormal(-(0.5**2) / 2, 0.5, shape) - 1,
    "log-normal 1": lambda rng, shape: rng.lognormal(-(1.0**2) / 2, 1.0, shape) - 1,
    "exponential": lambda rng, shape: rng.exponential(1.0, shape) - 1,
    "two log-normal 1": lambda rng, shape: rng.lognormal(0.0, 1.0, shape) - rng.lognormal(0.0, 1.0, shape),
}
"""Of a paired difference, with mean 0."""

STOPPING_LEGEND = (
    "share of simulated sequences in which every look was right, from 3 seeds on, after each seed; level 5 %",
    "at any look: the interval of analysis.stats.sequential; t interval: the usual one of the same level at the same looks",
    "interval: it holds the true difference, 0; the other sequences have a false verdict",
    "race: the best is never beaten, all being equally good (level / rivals)",
    "equivalent: never so called, the truth being at the margin (in standard deviations of a paired difference)",
    "unequal: of two formulations whose noise has the deviations 1 and 3; log-normal: with its deviation in the logarithm;"
    " two: of two formulations that both have such noise",
    "error: of 'at any look', by chance; LOW: below 95 % by more than two errors",
    "LOW of skewed differences is a limit of the method, which takes them as normal: the first seeds, without the rare large"
    " ones, look alike and off the mean. Heavy tails alone are safe, and so are two formulations of equal skew",
)
POWER_LEGEND = (
    "normal differences of one pair, looked at after every seed up to 60; effect: true difference in standard deviations",
    "decided: share whose interval excluded 0 by then; wrong: share that had the wrong sign; seeds: quantiles of all",
)


@dataclass(frozen=True)
class Looks:
    """Paired differences after ``n`` seeds ``[L]``: their ``means`` and ``squares``, sums of squared deviations,
    ``[..., L]``."""

    n: Array
    means: Array
    squares: Array

    @classmethod
    def at(cls, differences: Array) -> Looks:
        """Every look at differences ``[..., seeds]`` from `FIRST` on, by cumulative sums."""
        n = np.arange(1.0, differences.shape[-1] + 1)
        means = differences.cumsum(axis=-1) / n
        squares = np.maximum(np.square(differences).cumsum(axis=-1) - n * np.square(means), 0.0)
        late = slice(FIRST - 1, None)
        return cls(n[late], means[..., late], squares[..., late])

    def half_widths(self, level: float) -> tuple[Array, Array]:
        """``[..., L]`` each: of the interval that holds at any look, and of the t interval."""
        fixed = t_quantile(self.n - 1, 1 - level) * np.sqrt(self.squares / (self.n * (self.n - 1)))
        return sequential.half_width(self.n, self.squares, level), fixed


@dataclass(frozen=True)
class Stopping:
    """A line of the table. ``right(rng, count)`` simulates so many sequences, ``[count, 2]``: whether every look was right,
    with either interval. Each has ``values`` random numbers."""

    what: str
    formulations: int
    noise: str
    seeds: int
    right: Callable[[np.random.Generator, int], NDArray[np.bool_]]
    values: int
    margin: float = math.nan


def stoppings() -> Iterator[Stopping]:
    """Every line of the table."""
    for name, noise in NOISES.items():
        yield Stopping("interval", 2, name, LOOKS, _intervals(noise), LOOKS)
    for margin in MARGINS:
        yield Stopping("equivalent", 2, "normal", LOOKS, _margins(margin), LOOKS, margin)
    for count in FIELDS:
        yield Stopping("race", count, "normal", RACE, _races(count), RACE * count)


def stopping(simulations: int, seed: int = 0) -> pd.DataFrame:
    """One row for each of `stoppings`: how often every look was right, and the Monte Carlo error of that."""
    rows = []
    for i, case in enumerate(stoppings()):
        rng = np.random.default_rng([seed, 1, i])
        found = np.concatenate([case.right(rng, n) for n in _batches(simulations, case.values)])
        held, fixed = map(float, found.mean(axis=0))
        error = math.sqrt(held * (1 - held) / simulations)
        rows.append(
            {
                "what": case.what,
                "formulations": case.formulations,
                "noise": case.noise,
                "margin": case.margin,
                "seeds": case.seeds,
                "held": held,
                "error": error,
                "t_interval": fixed,
                "verdict": "LOW" if held + 2 * error < 1 - LEVEL else "ok",
            }
        )
    return pd.DataFrame(rows)


def power(simulations: int, seed: int = 0) -> pd.DataFrame:
    """How soon a true difference of `EFFECTS` deviations is found; quantiles beyond `PLANNED` seeds are infinite."""
    rows = []
    for i, effect in enumerate(EFFECTS):
        rng = np.random.default_rng([seed, 2, i])
        looks = Looks.at(effect + rng.standard_normal((simulations, PLANNED)))
        half, _ = looks.half_widths(LEVEL)
        out = np.abs(looks.means) > half
        decided, first = out.any(axis=1), out.argmax(axis=1)
        seeds = np.where(decided, looks.n[first], np.inf)
        wrong = decided & (np.take_along_axis(looks.means, first[:, None], 1)[:, 0] < 0)
        share = float(decided.mean())
        rows.append(
            {
                "effect": effect,
                "decided": share,
                "error": math.sqrt(share * (1 - share) / simulations),
                "wrong": float(wrong.mean()),
                "median": float(np.quantile(seeds, 0.5, method="inverted_cdf")),
                "most": float(np.quantile(seeds, 0.9, method="inverted_cdf")),
            }
        )
    return pd.DataFrame(rows)


def tables_of(simulations: int, seed: int = 0) -> list[tables.Table]:
    """Both as tables."""
    percent, fine, plain = tables.fixed(1, percent=True), tables.fixed(2, percent=True), tables.fixed(1)
    first: Columns = {
        "what": ("what", str),
        "formulations": ("formulations", str),
        "noise": ("noise", str),
        "margin": ("margin", plain),
        "seeds": ("seeds", str),
        "held": ("at any look", percent),
        "error": ("error", percent),
        "t_interval": ("t interval", percent),
        "verdict": ("verdict", str),
    }
    second: Columns = {
        "effect": ("effect", plain),
        "decided": ("decided", percent),
        "error": ("error", percent),
        "wrong": ("wrong", fine),
        "median": ("median seeds", _seeds),
        "most": ("90 % of seeds", _seeds),
    }
    title = "Looking after every seed"
    return [
        tables.simple("stopping", stopping(simulations, seed), first, STOPPING_LEGEND, title),
        tables.simple("power", power(simulations, seed), second, POWER_LEGEND, "Seeds to a verdict"),
    ]


def _seeds(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else f"over {PLANNED}"


def _batches(simulations: int, values: int) -> Iterator[int]:
    """So many sequences of ``values`` numbers at a time, ``simulations`` in all."""
    size = max(1, BATCH // values)
    for start in range(0, simulations, size):
        yield min(size, simulations - start)


def _intervals(noise: Noise) -> Callable[[np.random.Generator, int], NDArray[np.bool_]]:
    def right(rng: np.random.Generator, count: int) -> NDArray[np.bool_]:
        looks = Looks.at(noise(rng, (count, LOOKS)))
        held = [(np.abs(looks.means) <= half).all(axis=-1) for half in looks.half_widths(LEVEL)]
        return np.stack(held, axis=-1)

    return right


def _margins(margin: float) -> Callable[[np.random.Generator, int], NDArray[np.bool_]]:
    def right(rng: np.random.Generator, count: int) -> NDArray[np.bool_]:
        looks = Looks.at(margin + rng.standard_normal((count, LOOKS)))
        held = [~(np.abs(looks.means) + half < margin).any(axis=-1) for half in looks.half_widths(LEVEL)]
        return np.stack(held, axis=-1)

    return right


def _races(formulations: int) -> Callable[[np.random.Generator, int], NDArray[np.bool_]]:
    """The first formulation is the best; no rival leaves, so that all may beat it at every look."""

    def right(rng: np.random.Generator, count: int) -> NDArray[np.bool_]:
        values = rng.standard_normal((count, formulations, RACE))
        looks = Looks.at(values[:, :1] - values[:, 1:])
        level = LEVEL / (formulations - 1)
        held = [~(looks.means + half < 0).any(axis=(-2, -1)) for half in looks.half_widths(level)]
        return np.stack(held, axis=-1)

    return right
