"""What a ranking found: estimates with their uncertainty, and the facts that stand next to them. Writers take these; the
frame is a view of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.ranking.pending import Provisional
from analysis.ranking.smallest_gap import Resolution
from analysis.ranking.untrained_rows import Untrained
from analysis.runs.declared import COMPARED
from analysis.stats.two_way import TwoWay
from bench.config.sampling_settings import Setting
from bench.metrics.metric import Metric
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

RANK = "rank_all"
"""The column of the mean front index; its response is called ``rank``."""
STATES = ("diverged", "failed", "missing")
"""Why a formulation lacks an entry."""
LATE = ("front_one", "first", "wins", "fid_5", "ideal_5")
"""Columns that a frame has after the intervals of the others."""


class Ends(NamedTuple):
    """The ends of 95 % intervals."""

    low: pd.Series[float]
    high: pd.Series[float]


@dataclass(frozen=True, eq=False)
class Estimate:
    """A number of each formulation, all fields ``[F]`` with the best ranked first; NaN where one has none.

    * ``low``, ``high``: ends of its 95 % interval; ``behind``: of the difference from the leader, paired. None where no
      formulation has an interval
    * ``tied``: not separable from the best, NA where that is not known; None of a number that is not compared
    * ``lacking``: over how many settings (trainings) fewer than the others a mean goes
    """

    value: pd.Series[float]
    low: pd.Series[float] | None = None
    high: pd.Series[float] | None = None
    tied: pd.Series[bool] | None = None
    behind: Ends | None = None
    lacking: pd.Series[int] | None = None

    @property
    def not_separable(self) -> pd.Series[bool]:
        """Which are known to be tied with the best."""
        if self.tied is None:
            return pd.Series(False, index=self.value.index)
        return self.tied.fillna(False).astype(bool)

    def series(self, response: str) -> dict[str, pd.Series[Any]]:
        """The columns of its intervals and marks by their names in a frame."""
        found = {f"{response}_tied": self.tied, f"{response}_low": self.low, f"{response}_high": self.high}
        if self.behind is not None:
            found |= {f"{response}_behind_{end}": side for end, side in self.behind._asdict().items()}
        return {name: values for name, values in found.items() if values is not None}


@dataclass(frozen=True)
class Facts:
    """What stands next to a ranking.

    * ``settings`` that count, and ``uncounted`` ones, in which no formulation has all ``objectives``
    * ``recipes``: full names of metrics by metric and dataset
    * ``stages``: how results of several stages of training were trained (`analysis.runs.training_stages`)
    * ``unknown``: of the responses whose noise is unknown, why; ``without_interval``: formulations that lack entries
    * ``agreement``: mean Kendall correlation of the order with orders that are as likely to be the true one
    """

    formulations: int
    metrics: tuple[Metric, ...]
    settings: int
    uncounted: int
    datasets: tuple[str, ...]
    weights: tuple[str, ...]
    samplers: tuple[Setting, ...]
    seed_counts: Mapping[str, int]
    objectives: tuple[str, ...]
    recipes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    real_scores: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    provisional: Provisional | None = None
    untrained: tuple[Untrained, ...] = ()
    nothing_learned: bool = False
    resolution: tuple[Resolution, ...] = ()
    agreement: float | None = None
    without_interval: tuple[str, ...] = ()
    unknown: Mapping[str, str] = field(default_factory=dict)
    where: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()

    @property
    def seeds(self) -> int:
        """Of the dataset with fewest."""
        return min(self.seed_counts.values())

    @property
    def most_seeds(self) -> int:
        """Of the dataset with most."""
        return max(self.seed_counts.values())

    def metric(self, name: str) -> Metric | None:
        """A declared metric; None if there is none of this name."""
        return next((metric for metric in self.metrics if metric.name == name), None)

    def label(self, response: str) -> str:
        """What a metric is called, or ``rank``."""
        return metric.label if (metric := self.metric(response)) else response

    def json(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return asdict(self) | {"seeds": self.seeds}


@dataclass(frozen=True, eq=False)
class RankingResult:
    """A ranking, best formulation first.

    * ``columns``: by name, in the order of a frame (`analysis.ranking.ranking.rank`)
    * ``counts``: by formulation its ``settings``, and how many of them it lacks by reason (`STATES`)
    * ``models`` behind the intervals, by response
    """

    names: tuple[str, ...]
    columns: Mapping[str, Estimate]
    counts: pd.DataFrame
    facts: Facts
    models: Mapping[str, TwoWay] = field(default_factory=dict)

    def value(self, column: str) -> pd.Series[float]:
        """The numbers of a column by formulation."""
        return self.columns[column].value

    @property
    def tied(self) -> pd.Series[bool]:
        """Which formulations are not separable from the best by their mean front; NA where that is not known."""
        tied = self.columns[RANK].tied
        return tied if tied is not None else pd.Series(pd.NA, index=self.counts.index, dtype="boolean")

    @property
    def lost(self) -> pd.Series[bool]:
        """Which formulations lack entries."""
        return self.counts[list(STATES)].sum(axis=1) > 0

    def frame(self) -> pd.DataFrame:
        """One row for each formulation: values, counts, and then intervals and marks."""
        found: dict[str, pd.Series[Any]] = {}
        for name, column in self.columns.items():
            if name not in LATE:
                found[name] = column.value
                if column.lacking is not None:
                    found[f"{name}_lacking"] = column.lacking
        found |= {str(name): self.counts[name] for name in self.counts}
        for name in dict.fromkeys((RANK, *COMPARED, *self.columns)):
            if name in self.columns:
                column = self.columns[name]
                found |= {name: column.value} if name in LATE else {}
                found |= column.series("rank" if name == RANK else name)
        return pd.DataFrame(found).rename_axis("formulation").reset_index()
