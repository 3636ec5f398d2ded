"""``rank --versus-paper``: our order of formulations next to the one that arXiv 2403.03206 published in its table 1.

A front index depends on how many others were ranked, 61 there, so that orders are compared and not values: by Kendall's
tau-b and Spearman's rho, and pair by pair where our noise is known. The paper's order comes from one seed and has no
intervals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import combinations, permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.published import paper_tables
from analysis.ranking.notes import provisional_lines
from analysis.ranking.result import RANK, Ends, RankingResult
from analysis.stats import true_order
from analysis.stats.association import Array, kendall, pair_signs, spearman
from analysis.stats.two_way import TwoWay
from analysis.tables.table import Table, fixed, simple
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

LEVEL = 0.05
LEAST = 1e-6
"""Smallest variance of a formulation, as a share of the pooled one."""
TRUE = (
    "of the true order: with the noise of our seeds taken out; in brackets 95 % (less often right where "
    "formulations differ by less than noise and yet the true order is the paper's throughout)"
)
BETWEEN = "position here: among all formulations of ours, with its 95 % interval"
MOST = 10
"""Disagreements that are written out."""
EXACT, RANDOM = 8, 20_000
"""All orders are tried of at most so many formulations; of more, so many random ones."""


@dataclass(frozen=True)
class Association:
    """A coefficient of rank correlation from -1 to 1, of the measured order; NaN if all of our ranks are equal. Noise lowers
    it: ``true`` is that of the true order, with ``low`` and ``high`` of its 95 % interval (`analysis.stats.true_order`)."""

    name: str
    value: float
    true: float | None = None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        measured = f"{self.name} {self.value:.2f}" if math.isfinite(self.value) else f"{self.name} undefined"
        true = (
            ""
            if self.true is None
            else f", of the true order {self.true:.2f} [{self.low:.2f}, {self.high:.2f}]"
        )
        return measured + true


@dataclass(frozen=True, eq=False)
class Versus:
    """Our order next to the paper's.

    * ``shared``: a row for each formulation that both have, in the paper's order; ``paper_place`` and ``place`` are among
      the shared (equal ranks share the better one), ``position`` among all ``formulations`` of ours, from
      ``position_low`` to ``position_high`` by its 95 % interval, NaN where that is not known
    * ``p``: the part of all orders that agree with the paper's at least as well as ours, by tau; ``p_floor`` the smallest
      that it could be; ``exact``: all orders were tried
    * ``pairs``: a row for each pair, ``first`` (by the paper) and ``second``; ``difference`` of our ranks first - second;
      ``disagrees``: in the other order here, by more than noise
    """

    shared: pd.DataFrame
    tau: Association
    rho: Association
    p: float
    p_floor: float
    exact: bool
    pairs: pd.DataFrame
    formulations: int

    @property
    def disagreements(self) -> pd.DataFrame:
        """The pairs that are in the other order here by more than noise."""
        return self.pairs[self.pairs["disagrees"]]

    def lines(self) -> list[str]:
        """What there is to say, in sentences."""
        how = "all orders tried" if self.exact else f"{RANDOM} random orders"
        return [
            f"order against the paper's, {len(self.shared)} formulations shared: {self.tau}; {self.rho}",
            *([TRUE] if self.tau.true is not None else []),
            f"p = {self.p:.2g} for so much agreement by chance ({how}; it cannot be less than {self.p_floor:.2g})",
            *self._about_pairs(),
            *([BETWEEN] if self.shared["position_low"].notna().any() else []),
            f"ranks count fronts among {paper_tables.FORMULATIONS} formulations there and {self.formulations} here: "
            f"compare orders, not values; the paper's have no intervals (one seed)",
        ]

    def _about_pairs(self) -> list[str]:
        opposite = int((self.pairs["difference"] > 0).sum())
        counted = f"{opposite} of {len(self.pairs)} pairs are in the other order here"
        if self.pairs["p"].isna().all():
            return [f"{counted}; with one seed it is unknown which of them by more than noise"]
        found = self.disagreements
        if found.empty:
            return [
                f"{counted}, none by more than noise (paired t, Holm over all pairs, {100 * LEVEL:.0f} %)"
            ]
        ranks = self.shared.set_index("formulation")
        shown = found.sort_values("p_holm", kind="stable").head(MOST)
        lines = [
            f"{a} before {b} there ({ranks['paper_rank_all'][a]:.2f} and {ranks['paper_rank_all'][b]:.2f}), "
            f"after it here ({ranks['rank_all'][a]:.2f} and {ranks['rank_all'][b]:.2f}, {_p(p)} after Holm)"
            for a, b, p in zip(shown["first"], shown["second"], shown["p_holm"], strict=True)
        ]
        first = f", first the {MOST} clearest (--format json has all)" if len(found) > MOST else ""
        return [f"{counted}, {len(found)} by more than noise{first}:", *lines]

    def table(self) -> Table:
        """The shared formulations side by side, with `lines` as notes."""
        columns: dict[str, tuple[str, Callable[[Any], str]]] = {
            "formulation": ("formulation", str),
            "paper_rank_all": ("rank in the paper", fixed(2)),
            "paper_place": ("place there", str),
            "place": ("place here", str),
            "rank_all": ("rank here", fixed(2)),
            "position": ("position here", str),
        }
        optional = ("position here", "rank here", "rank in the paper")
        title = "Compared with arXiv 2403.03206, table 1"
        about = {
            "kendall": asdict(self.tau),
            "spearman": asdict(self.rho),
            "p": self.p,
            "p_floor": self.p_floor,
        }
        about["pairs"] = self.pairs.to_dict("records")
        made = simple("versus_paper", self.shared, columns, self.lines(), title, optional)
        ends = zip(self.shared["position_low"], self.shared["position_high"], strict=True)
        margins = pd.DataFrame(
            {"position here": [f"[{low:.0f}, {high:.0f}]" if low == low else "" for low, high in ends]}
        )
        return replace(made, about=about, margins=margins)


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def versus(
    ranks: pd.Series[float],
    model: TwoWay | None = None,
    p_value: Callable[[str, str], float] | None = None,
    between: Ends | None = None,
) -> Versus:
    """Compare the ``ranks`` of formulations, best first, with the paper's.

    ``model`` is that of the mean fronts over our seeds; ``p_value(f, g)`` the two-sided p-value of a difference in mean
    front, NaN where it has none; ``between`` are the ends of the intervals of their positions. All are None where there is
    one seed.
    Raises `UserError` if fewer than three formulations are shared.
    """
    published, positions = paper_tables.published(), pd.Series(range(1, len(ranks) + 1), index=ranks.index)
    ranks = ranks.dropna()
    both = [name for name in published.index if name in ranks.index]
    if len(both) < 3:
        what = ", ".join(both) if both else "none"
        others = [name for name in ("rf", "eps/linear", "v/cos", *published.index) if name not in both]
        raise UserError(
            f"an order needs three formulations, and this ranking shares {len(both)} ({what}) with the paper's table 1: "
            f"add some of its {len(published)}, e.g. {' and '.join(others[: 3 - len(both)])}"
        )
    shared = pd.DataFrame(
        {
            "formulation": both,
            "paper_rank_all": published[both].to_numpy(),
            "paper_place": published[both].rank(method="min").astype(int).to_numpy(),
            "place": ranks[both].rank(method="min").astype(int).to_numpy(),
            "rank_all": ranks[both].to_numpy(),
            "position": positions[both].to_numpy(),
        }
    )
    for end in Ends._fields:
        shared[f"position_{end}"] = np.nan if between is None else getattr(between, end)[both].to_numpy()
    there, here = shared["paper_rank_all"].to_numpy(float), shared["rank_all"].to_numpy(float)
    drawn = None
    if model is not None and model.variance > 0 and set(both) <= set(model.names):
        rows = [model.names.index(name) for name in both]
        variances = np.maximum(model.moderated, LEAST * model.variance)[rows] / model.replicates
        drawn = true_order.draws(model.means[rows], variances, float(model.moderated_df), there)
    p, floor, exact = _chance(here, there)
    return Versus(
        shared,
        _association("Kendall's tau-b", kendall, here, there, drawn),
        _association("Spearman's rho", spearman, here, there, drawn),
        p,
        floor,
        exact,
        _pairs(both, here, p_value),
        len(ranks),
    )


def with_paper(ranking: RankingResult) -> Table:
    """`versus` as a table, with notes on what is provisional."""
    model, facts, at = ranking.models.get("rank"), ranking.facts, ranking.columns["position"]
    between = None if at.low is None or at.high is None else Ends(at.low, at.high)
    made = versus(ranking.value(RANK), model, partial(p_value, model) if model else None, between).table()
    above = *provisional_lines(facts.provisional, facts.damaged), *facts.stages
    return replace(made, notes=[*above, *made.notes])


def _association(
    name: str, measure: Callable[[Array, Array], Array], here: Array, there: Array, drawn: Array | None
) -> Association:
    value = float(measure(here[None], there)[0])
    if drawn is None:
        return Association(name, value)
    return Association(name, value, *true_order.correlation(measure, drawn, there))


def _chance(here: Array, there: Array) -> tuple[float, float, bool]:
    """How often an order by chance agrees as well as ours; the smallest that this could be; whether all were tried."""
    a, exact = pair_signs(here), len(here) <= EXACT
    if exact:
        orders = there[np.array(list(permutations(range(len(there)))))]
    else:
        orders = np.random.default_rng(0).permuted(np.tile(there, (RANDOM, 1)), axis=1)
    agreement = pair_signs(orders) @ a
    as_well = int((agreement >= a @ pair_signs(there)).sum())
    if exact:
        return as_well / len(orders), float((agreement == agreement.max()).mean()), True
    return (1 + as_well) / (1 + RANDOM), 1 / (1 + RANDOM), False


def _pairs(both: Sequence[str], here: Array, p_value: Callable[[str, str], float] | None) -> pd.DataFrame:
    """All pairs in the paper's order, with Holm's p-values over them."""
    order = list(combinations(range(len(both)), 2))
    p = np.array([p_value(both[i], both[j]) if p_value else np.nan for i, j in order])
    frame = pd.DataFrame(
        {
            "first": [both[i] for i, _ in order],
            "second": [both[j] for _, j in order],
            "difference": [here[i] - here[j] for i, j in order],
            "p": p,
            "p_holm": holm(p),
        }
    )
    frame["disagrees"] = (frame["difference"] > 0) & (frame["p_holm"] < LEVEL)
    return frame


def p_value(model: TwoWay, one: str, other: str) -> float:
    """Two-sided p-value of a difference in mean front by the paired t test; NaN where a formulation has no interval."""
    if one not in model.names or other not in model.names or not model.df:
        return math.nan
    from scipy.special import stdtr

    i, j = model.names.index(one), model.names.index(other)
    error = math.sqrt((model.bounded[i] + model.bounded[j]) / model.replicates)
    apart = abs(float(model.means[i] - model.means[j]))
    return 2 * float(stdtr(model.moderated_df, -apart / error)) if error > 0 else math.nan


def holm(p: Array) -> Array:
    """Holm's step-down adjusted p-values (1979, Scand. J. Stat. 6(2)); a NaN counts as a test and stays NaN."""
    order = np.argsort(p)  # NaN last
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
