"""Rankings of tables and rankings made by hand, with what the page says of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from analysis.ranking import ranking as rankings
from analysis.ranking.pending import Provisional
from analysis.ranking.result import Ends, Estimate, Facts, RankingResult
from analysis.ranking.smallest_gap import Resolution
from analysis.report import findings
from analysis.report.phrases import BEGIN, END
from analysis.runs import schema
from analysis.runs.schema import Results
from bench.metrics.run_metrics import columns

SIX = ["rf/lognorm(0.00,1.00)", "eps/linear", "edm(-1.20,1.20)", "rf/mode(1.29)", "rf", "v/cos"]


def results(frame: pd.DataFrame, **about: Any) -> Results:
    """The results in a frame, which may be checked already."""
    return replace(schema.check(frame), **about)


def rank(frame: pd.DataFrame, by: str | None = None, real_scores: Any = None) -> RankingResult:
    """The ranking of a frame."""
    return rankings.rank(results(frame, real_scores=real_scores or {}), by)


def frame_of(frame: pd.DataFrame, by: str | None = None) -> pd.DataFrame:
    """The ranking of a frame as a frame."""
    return rank(frame, by).frame()


def ranking(
    names: list[str] = SIX,
    ranks: tuple[float, ...] = (1.28, 2.33, 2.39, 2.5, 2.83, 3.28),
    tied: tuple[bool | None, ...] = (True, True, True, True, False, False),
    seeds: int = 3,
    behind: Mapping[str, tuple[list[float], list[float]]] | None = None,
    diverged: int = 0,
    **facts: Any,
) -> RankingResult:
    """A ranking as `analysis.ranking.ranking.rank` makes it, as far as the verdict reads it; the last formulation
    ``diverged`` in some settings."""
    index, count = pd.Index(names, name="formulation"), len(names)
    marks = pd.Series(pd.array([pd.NA] * count if seeds == 1 else tied, dtype="boolean"), index=index)

    def column(values: Any) -> pd.Series[Any]:
        return pd.Series(values, index=index)

    made = {"rank_all": Estimate(column(ranks), tied=marks)}
    low, high = (math.nan, math.nan) if seeds == 1 else (1.0, 3.0)
    made["position"] = Estimate(column(range(1, count + 1)), column(low), column(high))
    for metric, values in (
        ("clip", [48.33, 43.9, 40.72, 41.95, 42.47, 37.43, 30.0]),
        ("fid", [23.13, 26.3, 25.5, 27.77, 31.14, 33.34, 40.0]),
        ("val_loss", [0.3] * 7),
    ):
        ends = Ends(*map(column, behind[metric])) if behind and metric in behind else None
        made[metric] = Estimate(column(values[:count]), tied=marks, behind=ends)
    if seeds > 1:
        made["first"] = Estimate(column(0.71))
    counts = pd.DataFrame({"settings": 18, "diverged": 0, "failed": 0, "missing": 0}, index=index)
    counts.iloc[-1, 1] = diverged
    usual = Facts(
        formulations=count,
        metrics=tuple(columns()),
        settings=18,
        uncounted=0,
        datasets=("shapes",),
        weights=("ema",),
        samplers=(),
        seed_counts={"shapes": seeds},
        objectives=("clip", "fid"),
        unknown={} if seeds > 1 else {"rank": "one seed"},
        agreement=0.6 if seeds > 1 else None,
    )
    return RankingResult(tuple(names), made, counts, replace(usual, **facts))


def provisional(formulations: tuple[str, ...] = (), blocks: tuple[tuple[str, int], ...] = ()) -> Provisional:
    """12 of 18 cells."""
    return Provisional(12, 18, blocks, formulations)


def resolution(
    response: str, lead: float, gap: float, needed: int | None, log: bool = False, **more: Any
) -> Resolution:
    usual = Resolution(
        response=response,
        log=log,
        formulations=6,
        seeds=3,
        fewest=3,
        sigma=1.0,
        correlation=0.5,
        correlation_low=-0.1,
        correlation_high=0.9,
        df=10,
        gap=gap,
        lead=lead,
        separated=False,
        draw=None,
        seeds_needed=needed,
    )
    return replace(usual, **more)


def plain(sentences: tuple[str, ...]) -> list[str]:
    return [s.replace(BEGIN, "").replace(END, "") for s in sentences]


def lead(found: RankingResult) -> list[str]:
    return plain(findings.verdict(found, {}).lead)
