"""What all figures of a run are about: its ranking, the rows behind it, and which formulations stand out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.plots import widths
from analysis.plots.captions import left_out, merged
from analysis.ranking.blocks import seeds_by_dataset
from analysis.ranking.pending import settled
from analysis.ranking.result import RankingResult
from analysis.runs import cell_contents, schema, sources
from analysis.runs.run import Run
from analysis.stats import two_way as stats
from analysis.tables.wording import count, series
from bench.config.sampling_settings import CONTROL, ControlSetting
from bench.metrics.metric import Metric
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

BEST = 8
"""Formulations that are highlighted for their rank."""
BASELINES = ("rf", "eps/linear")
"""Highlighted whatever their rank."""


class Undrawable(Exception):
    """Why a figure cannot be drawn, in words."""


@dataclass(frozen=True, eq=False)
class Seeds:
    """A number of each formulation and seed: ``table`` is ``[F, S]``, complete and best ranked first; ``lost`` are the
    formulations that are left out, and why."""

    table: pd.DataFrame
    lost: Mapping[str, str]

    @property
    def mean(self) -> pd.Series[float]:
        """Over seeds."""
        return self.table.mean(axis=1)

    @property
    def half(self) -> pd.Series[float]:
        """Half of a 95 % interval for comparing means over seeds: ``t sqrt(v_f / S)`` with the bounded variance of the
        paired model (`analysis.stats.two_way.fit`), so without the luck that all formulations of a seed share. NaN
        with one seed or one formulation."""
        if min(self.table.shape) < 2:
            return self.mean * math.nan
        names, seeds = list(map(str, self.table.index)), list(map(int, self.table.columns))
        model = stats.fit(self.table.to_numpy(dtype=np.float64), names, seeds)
        reach = stats.t_quantile(model.moderated_df) * np.sqrt(model.bounded / len(seeds))
        return pd.Series(reach, index=self.table.index)


@dataclass(frozen=True, eq=False)
class Part:
    """What a panel shows: ``table`` ``[F, X]``, best ranked first, ``half`` the length of its bars, where there are any, and
    the formulations that are ``lost``, and why."""

    dataset: str
    table: pd.DataFrame
    lost: Mapping[str, str] = field(default_factory=dict)
    half: pd.DataFrame | None = None


@dataclass(frozen=True, eq=False)
class Subject:
    """A run and its ranking (`analysis.ranking.ranking.rank`), as the figures need them, and their width in inches."""

    run: Run
    ranking: RankingResult
    width: float = widths.PAGE

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The rows of the ranking: none of a confirmation, none that wait for others, only ranked formulations."""
        rows, _ = settled(self.run.phase("rank").frame)
        return rows[rows["formulation"].isin(self.order)]

    @cached_property
    def order(self) -> list[str]:
        """All ranked formulations, best first."""
        return list(self.ranking.names)

    @cached_property
    def datasets(self) -> list[str]:
        """In the order of the table."""
        return [str(name) for name in self.rows["dataset"].unique()]

    @cached_property
    def seeds(self) -> list[int]:
        """Of all datasets, in order."""
        return sorted(int(seed) for seed in self.rows["seed"].unique())

    @cached_property
    def seed_counts(self) -> dict[str, int]:
        """How many seeds each dataset has: while a grid is running, these may differ."""
        return seeds_by_dataset(self.rows)

    @cached_property
    def settings(self) -> list[ControlSetting]:
        """The control settings of all datasets."""
        return list(dict.fromkeys(schema.controls(self.rows)))

    @cached_property
    def validations(self) -> pd.DataFrame:
        """`analysis.runs.cell_contents.curves` of the trainings that are ranked."""
        key = ["formulation", "dataset", "seed"]
        return cell_contents.curves(self.run).merge(self.rows[key].drop_duplicates(), on=key)

    @cached_property
    def dead(self) -> dict[str, str]:
        """Formulations without any number, and why: they have a place in the ranking but nothing to show."""
        states = self.rows.groupby("formulation", observed=True)["status"].unique()
        return {str(name): _why(found) for name, found in states.items() if "done" not in found}

    def absent(self, what: str) -> Undrawable:
        """The reason if there is none of what the cells of a run folder hold."""
        if not self.run.manifests:
            return Undrawable(f"{self.run.name} is a table without its cells, which hold {what}")
        if sources.is_archive(self.run.path):
            return Undrawable(f"{self.run.name} is an archive without {what}")
        return Undrawable(f"no training has left {what}")

    def left_out(self, lost: Mapping[str, str]) -> str:
        """A sentence that names the formulations that are not in a figure, also those that cannot be ranked before others of
        their cells are finished."""
        names = dict.fromkeys(str(name) for name in self.run.phase("rank").frame["formulation"])
        return left_out({**lost, **{name: "not finished" for name in names if name not in self.order}})

    def highlighted(self, drawn: Sequence[str]) -> list[str]:
        """Which of the drawn formulations are shown in colour, best first: all if there are few."""
        names = [name for name in self.order if name in set(drawn)]
        if len(names) <= BEST + len(BASELINES):
            return names
        return [name for i, name in enumerate(names) if i < BEST or name in BASELINES]

    def parts(self, made: Callable[[str], Part]) -> list[Part]:
        """The part of every dataset that has any formulation to show."""
        return [part for part in map(made, self.datasets) if len(part.table)]

    def by_seed(self, metric: str, dataset: str, setting: ControlSetting) -> Seeds:
        """A metric at one control setting. A formulation without a finite value in one of the seeds is lost: means over
        other seeds than those of the rest could not be compared."""
        if metric not in self.rows:
            return Seeds(pd.DataFrame(), {})
        chosen = self.rows["dataset"] == dataset
        for column in CONTROL:
            chosen &= self.rows[column] == getattr(setting, column)
        rows = self.rows[chosen]
        value = rows[metric].where((rows["status"] == "done") & np.isfinite(rows[metric]))
        table = rows.assign(value=value).pivot(index="formulation", columns="seed", values="value")
        table = table.reindex(index=self.order).dropna(axis="columns", how="all")
        if table.shape[1] == 0:
            return Seeds(table.iloc[:0], {})
        complete = table.notna().all(axis=1)
        states = rows.groupby("formulation", observed=True)["status"].unique()
        return Seeds(table[complete], {n: _why(states.get(n, ())) for n in table.index[~complete]})

    def lacking(self, logs: pd.DataFrame, dataset: str) -> dict[str, str]:
        """The formulations without a log (`validations`, or some of its rows) in one of the seeds in which others have one,
        and why."""
        rows = self.rows[self.rows["dataset"] == dataset]
        states = rows.groupby("formulation", observed=True)["status"].unique()
        have = logs.groupby("formulation", observed=True)["seed"].agg(set)
        names = [name for name in self.order if set(logs["seed"]) - have.get(name, set())]
        return {n: _why([s for s in states.get(n, ()) if s != "done"] or ["no log"]) for n in names}

    def metric(self, name: str) -> Metric:
        """What the run declares about a metric."""
        return self.run.metrics[name]

    def recipes(self, *metrics: str) -> str:
        """The full names of metrics, as sentences."""
        parts = []
        for metric in metrics:
            names = self.rows.get(f"{metric}_name", pd.Series(dtype=object)).dropna().astype(str).unique()
            if len(names):
                parts.append(f"{self.metric(metric).title}: {', '.join(names)}.")
        return " ".join(parts)

    def averaged(self, bars: str = "") -> str:
        """Over what means are taken, and what the bars are."""
        counts = self.seed_counts
        if max(counts.values()) == 1:
            only = f"seed {self.seeds[0]}" if len(self.seeds) == 1 else "one seed of each dataset"
            return f"{only} only, so no spread over seeds is known"
        if len(set(counts.values())) == 1:
            means = f"means over {counts[self.datasets[0]]} seeds"
        else:
            means = "means over " + ", ".join(f"{count(counts[d], 'seed')} on {d}" for d in self.datasets)
        return means + (f", {bars}" if bars else "")


@dataclass(frozen=True, eq=False)
class Shown:
    """The parts of a figure, and what its caption has of them."""

    subject: Subject
    parts: Sequence[Part]

    @cached_property
    def names(self) -> list[str]:
        """All formulations in the figure."""
        return list(dict.fromkeys(name for part in self.parts for name in part.table.index))

    @cached_property
    def lit(self) -> list[str]:
        """Those in colour, best first."""
        return self.subject.highlighted(self.names)

    @property
    def others(self) -> int:
        """How many are not in colour."""
        return len(self.names) - len(self.lit)

    @property
    def datasets(self) -> list[str]:
        """Those with a part."""
        return list(dict.fromkeys(part.dataset for part in self.parts))

    def named(self) -> str:
        """``6 formulations on shapes and digits``."""
        return f"{count(len(self.names), 'formulation')} on {series(self.datasets)}"

    def coloured(self) -> str:
        """A sentence about the lines in colour, if not all are."""
        if not self.others:
            return ""
        return f"In colour: the {len(self.lit)} formulations that rank best or are baselines."

    def not_shown(self, lacks: str) -> str:
        """A sentence that names the datasets without a panel, and what all formulations lack there."""
        there = self.datasets
        absent = [dataset for dataset in self.subject.datasets if dataset not in there]
        return f"Not shown: {series(absent)}, where no formulation has {lacks}." if absent else ""

    def left_out(self) -> str:
        """A sentence that names the formulations that are not in the figure."""
        return self.subject.left_out(merged({part.dataset: part.lost for part in self.parts}))


def usual(settings: Sequence[ControlSetting]) -> ControlSetting:
    """The setting of the study's table 2: 25 steps, guidance 5; without it the one with most steps and, of these, the
    guidance nearest to 5. EMA weights if there are any."""

    def order(s: ControlSetting) -> tuple[Any, ...]:
        return (s.steps, s.cfg) != (25, 5.0), -s.steps, abs(s.cfg - 5), s.cfg, s.weights

    return min(of_one_kind(settings), key=order)


def ladders(settings: Sequence[ControlSetting]) -> list[list[ControlSetting]]:
    """The settings of one kind with the same guidance, by steps; first those with most of them, of equals the guidance
    nearest to 5."""
    found = of_one_kind(settings)
    made = {s.cfg: sorted((t for t in found if t.cfg == s.cfg), key=lambda t: t.steps) for s in found}
    return [made[cfg] for cfg in sorted(made, key=lambda c: (-len(made[c]), abs(c - 5), c))]


def of_one_kind(settings: Sequence[ControlSetting]) -> list[ControlSetting]:
    """Those of EMA weights and the study's solver and grid, else of the first kind that there is."""
    first = min(settings, key=lambda s: (s.weights != "ema", s.method != "")).kind
    return [s for s in settings if s.kind == first]


def _why(states: Sequence[Any]) -> str:
    for state in ("diverged", "failed", "pending", "no log"):
        if state in states:
            return state
    return "not finite" if "done" in states else "missing"
