"""What all figures of a run are about: its ranking, the rows that the ranking is made of, and who is shown how."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.plots import widths
from analysis.ranking.blocks import seeds_by_dataset
from analysis.ranking.pending import settled
from analysis.ranking.result import RankingResult
from analysis.results import cells, schema, sources
from analysis.results.run import Run
from analysis.stats import two_way as stats
from analysis.tables.wording import count
from bench.config.settings import CONTROL, ControlSetting
from bench.metrics.base import Metric
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

BEST = 8
"""Formulations that are highlighted for their rank."""
BASELINES = ("rf", "eps/linear")
"""Highlighted whatever their rank."""


Setting = ControlSetting


class Undrawable(Exception):
    """Why a figure cannot be drawn, in words."""


@dataclass(frozen=True, eq=False)
class Seeds:
    """A number of each formulation and seed: ``table`` is ``[F, S]``, complete and best ranked first; ``lost`` tells who is
    left out, and why."""

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
        where one seed or
        one formulation tells nothing."""
        count = self.table.shape[1]
        if count < 2 or len(self.table) < 2:
            return self.table.mean(axis=1) * math.nan
        names, seeds = list(map(str, self.table.index)), list(map(int, self.table.columns))
        model = stats.fit(self.table.to_numpy(dtype=np.float64), names, seeds)
        reach = stats.t_quantile(model.moderated_df) * np.sqrt(model.bounded / count)
        return pd.Series(reach, index=self.table.index)


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
    def settings(self) -> list[Setting]:
        """The control settings of all datasets."""
        return list(dict.fromkeys(schema.controls(self.rows)))

    @cached_property
    def validations(self) -> pd.DataFrame:
        """`analysis.results.cells.curves` of the trainings that are ranked."""
        found = cells.curves(self.run)
        kept = self.rows[["formulation", "dataset", "seed"]].drop_duplicates()
        return found.merge(kept, on=["formulation", "dataset", "seed"])

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

    @cached_property
    def waiting(self) -> dict[str, str]:
        """Formulations that cannot be ranked before others of their cells are finished."""
        names = dict.fromkeys(str(name) for name in self.run.phase("rank").frame["formulation"])
        return {name: "not finished" for name in names if name not in self.order}

    def left_out(self, lost: Mapping[str, str]) -> str:
        """A sentence that names who is not in a figure, `waiting` ones too."""
        return left_out({**lost, **self.waiting})

    def highlighted(self, drawn: Sequence[str]) -> list[str]:
        """Which of the drawn formulations are shown in colour, best first: all if there are few."""
        names = [name for name in self.order if name in set(drawn)]
        if len(names) <= BEST + len(BASELINES):
            return names
        return [name for i, name in enumerate(names) if i < BEST or name in BASELINES]

    def by_seed(self, metric: str, dataset: str, setting: Setting) -> Seeds:
        """A metric at one control setting. Who lacks a finite value in one of the seeds is lost: means over other seeds than
        those of the rest could not be compared."""
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
        lost = {name: _why(states.get(name, ())) for name in table.index[~complete]}
        return Seeds(table[complete], lost)

    def usual(self, settings: Sequence[Setting] | None = None) -> Setting:
        """The setting of the study's table 2: 25 steps, guidance 5; without it the one with most steps and, of these, the
        guidance nearest to 5. EMA weights if there are any."""
        found = list(self.settings if settings is None else settings)
        found = of_one_kind(found)
        for setting in found:
            if (setting.steps, setting.cfg) == (25, 5.0):
                return setting
        return min(found, key=lambda s: (-s.steps, abs(s.cfg - 5), s.cfg, s.weights))

    def without_all(self, logs: pd.DataFrame, dataset: str) -> dict[str, str]:
        """Who lacks a log (`validations`, or some of its rows) in one of the seeds in which others have one, and why."""
        rows = self.rows[self.rows["dataset"] == dataset]
        seeds = set(logs["seed"])
        states = rows.groupby("formulation", observed=True)["status"].unique()
        have = logs.groupby("formulation", observed=True)["seed"].agg(set)
        lacking = [name for name in self.order if seeds - have.get(name, set())]
        return {
            name: _why([s for s in states.get(name, ()) if s != "done"] or ["no log"]) for name in lacking
        }

    def highlight_told(self, lit: Sequence[str], names: Sequence[str]) -> str:
        """Which lines are in colour, if not all."""
        if len(lit) == len(names):
            return ""
        return f"In colour: the {len(lit)} formulations that rank best or are baselines."

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

    def seeds_told(self, bars: str = "") -> str:
        """Over what means are taken, and what the bars are."""
        counts = self.seed_counts
        if max(counts.values()) == 1:
            only = f"seed {self.seeds[0]}" if len(self.seeds) == 1 else "one seed of each dataset"
            return f"{only} only, so no spread over seeds is known"
        if len(set(counts.values())) == 1:
            told = f"means over {counts[self.datasets[0]]} seeds"
        else:
            told = "means over " + ", ".join(f"{count(counts[d], 'seed')} on {d}" for d in self.datasets)
        return told + (f", {bars}" if bars else "")

    def not_shown(self, shown: Container[str], lacks: str) -> str:
        """A sentence that names the datasets without a panel, and what all formulations lack there."""
        absent = [dataset for dataset in self.datasets if dataset not in shown]
        return f"Not shown: {' and '.join(absent)}, where no formulation has {lacks}." if absent else ""


def of_one_kind(settings: Sequence[Setting]) -> list[Setting]:
    """Those of EMA weights and the study's solver and grid, else of the first kind that there is."""
    kinds = dict.fromkeys(
        s.kind for s in sorted(settings, key=lambda s: (s.weights != "ema", s.method != ""))
    )
    return [s for s in settings if s.kind == next(iter(kinds))]


INTERVALS = "bars 95 % intervals over seeds, without what all formulations of a seed share"


def _why(states: Sequence[Any]) -> str:
    for state in ("diverged", "failed", "pending", "no log"):
        if state in states:
            return state
    return "not finite" if "done" in states else "missing"


def left_out(lost: Mapping[str, str]) -> str:
    """A sentence that names who is not in a figure; empty if all are."""
    if not lost:
        return ""
    reasons = {why: [name for name in lost if lost[name] == why] for why in dict.fromkeys(lost.values())}
    parts = [f"{', '.join(names)} ({why})" for why, names in reasons.items()]
    return f"Left out: {'; '.join(parts)}."


def merged(lost: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Who is lost on some datasets, and why; where, if not on all."""
    found = {}
    for name in dict.fromkeys(name for names in lost.values() for name in names):
        reasons = {dataset: names[name] for dataset, names in lost.items() if name in names}
        everywhere = len(reasons) == len(lost) and len(set(reasons.values())) == 1
        parts = [f"{why} on {dataset}" for dataset, why in reasons.items()]
        found[name] = next(iter(reasons.values())) if everywhere else ", ".join(parts)
    return found


def sentences(*parts: str) -> str:
    """A caption of what is not empty."""
    return " ".join(part for part in parts if part)
