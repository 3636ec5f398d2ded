"""The verdict against a baseline in one sentence, and the command that would probably decide."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.comparisons import decided
from analysis.comparisons.baseline import Comparison, Comparisons, against
from analysis.comparisons.decided import Command
from analysis.comparisons.paired import Lost
from analysis.ranking.smallest_gap import REACH
from analysis.runs import schema
from bench.metrics.run_metrics import columns

ROW = Comparison("A", "fid", True, 6, -12.0, -20.0, -4.0, 99.0, 0.99, "better", 6)
COMMAND = Command(
    "bench.compare", ("my.py:late", "rf/lognorm(0,1)", "--minutes", "10", "--seeds=5", "--batch", "8"), 30.0
)


def found(*rows: Comparison, margin: float | None = None) -> Comparisons:
    return Comparisons("C", "fid", margin, 0.05, {m.name: m for m in columns()}, rows)


def open_row(needed: int | None = 11, **changes: Any) -> Comparison:
    return replace(replace(ROW, verdict="undecided", high=4.0, seeds_needed=needed), **changes)


@pytest.mark.parametrize(
    ("row", "margin", "sentence"),
    [
        (ROW, None, "Decided: A is better than C by FID, -12 % [-20, -4] (6 seeds; 95 % at every look)."),
        (replace(ROW, verdict="worse"), None, "Decided: A is worse than C by FID, -12 % [-20, -4] (6 seeds;"),
        (
            replace(ROW, verdict="equivalent", low=-1.5, high=1.0, estimate=-0.2),
            2.0,
            "Decided: A is equivalent to C within ±2 % by FID, -0.2 % [-1.5, +1] (6 seeds;",
        ),
        (
            replace(ROW, verdict="equivalent", estimate=0, low=0, high=0, e_value=0.3, apart=0),
            None,
            "Decided: A and C have the same FID in every seed (6 seeds;",
        ),
        (
            replace(ROW, verdict="undecided", lost=(Lost("C", "diverged", 1, 6),), estimate=math.nan),
            None,
            "Undecided: A is not compared with C: C diverged in 1 of 6 seeds (6 seeds;",
        ),
    ],
    ids=["better", "worse", "equivalent", "identical", "lost"],
)
def test_verdicts(row: Comparison, margin: float | None, sentence: str) -> None:
    assert decided.terminal(found(row, margin=margin), COMMAND).startswith(sentence)


def test_an_undecided_comparison_names_the_command_with_minutes_for_the_seeds_it_needs() -> None:
    """Five seeds of 30 s, and a tenth more: 2.75 minutes."""
    shown = decided.terminal(found(open_row()), COMMAND)
    assert shown == (
        "Undecided: A against C by FID, -12 % [-20, +4] (6 seeds; 95 % at every look); "
        "`python -m bench.compare my.py:late 'rf/lognorm(0,1)' --batch 8 --minutes 3` would probably decide "
        "(11 seeds in all, about 2 minutes more)."
    )
    shown = decided.terminal(found(open_row()), replace(COMMAND, seconds=None))
    assert "--batch 8 --seeds 11` would probably decide (11 seeds in all)." in shown


@pytest.mark.parametrize("words", [("--config", "run/config.toml"), ("--config=run/config.toml",)])
def test_an_advised_command_is_not_stopped_by_the_seeds_of_its_file(words: tuple[str, ...]) -> None:
    """``config.toml`` of a run folder has the number of seeds that were run."""
    command = replace(COMMAND, argv=words)
    shown = decided.terminal(found(open_row()), command)
    assert (
        f"`python -m bench.compare {' '.join(words)} --minutes 3 --seeds 11` would probably decide" in shown
    )
    shown = decided.terminal(found(open_row(None, n=1, low=-math.inf, high=math.inf)), command)
    assert f"`python -m bench.compare {' '.join(words)} --seeds 4` trains more" in shown


def test_what_no_number_of_seeds_decides_is_said() -> None:
    shown = decided.terminal(found(open_row(), open_row(None, formulation="B")), COMMAND)
    assert (
        "; some of them may be equal, as more than 1,000 seeds would be needed; a --margin that matters or more --samples "
        "may decide sooner."
    ) in shown
    assert "`" not in shown


def test_many_more_seeds_than_there_are_are_no_advice() -> None:
    most = open_row(n=4, seeds_needed=4 * REACH)
    assert "would probably decide (40 seeds in all" in decided.terminal(found(most), COMMAND)
    shown = decided.terminal(found(replace(most, seeds_needed=4 * REACH + 1)), COMMAND)
    assert "; they may be equal, as about 41 seeds would be needed; a --margin" in shown
    assert "probably" not in shown


def test_one_seed_asks_for_another() -> None:
    none = {"n": 1, "low": -math.inf, "high": math.inf}
    shown = decided.terminal(found(open_row(None, **none)), COMMAND)
    assert "(1 seed; 95 % at every look); two seeds at least show how much a seed matters" in shown
    assert "`python -m bench.compare my.py:late 'rf/lognorm(0,1)' --batch 8` trains more" in shown


def test_one_formulation_under_two_names_ends_after_four_seeds_though_rounding_parts_them() -> None:
    row = open_row(98, estimate=0.0039, low=-0.057, high=0.065, apart=0.002)
    assert decided.enough(found(row, ROW))
    assert not decided.enough(found(replace(row, n=3)))
    assert not decided.enough(found(replace(row, apart=0.02)))
    assert not decided.enough(found(row, open_row()))
    assert decided.terminal(found(row), COMMAND) == (
        "Undecided: A and C have the same FID in every seed but for rounding (+0.0039 % [-0.057, +0.065]) "
        "(6 seeds; 95 % at every look); that is one formulation under two names, which a --margin would find equivalent."
    )
    assert "A is better than C" in decided.terminal(found(replace(ROW, apart=0.001)), COMMAND)


def test_differences_are_measured_by_the_noise_of_the_baseline() -> None:
    seeds = range(5)
    fid = {"C": [2.0, 3.0, 5.0, 4.0, 2.5], "A": [2.2, 3.1, 4.5, 4.4, 2.0]}
    rows = [
        {
            "formulation": n,
            "dataset": "d",
            "weights": "ema",
            "steps": 5,
            "cfg": 5.0,
            "clip": 1.0,
            "fid": fid[n][s],
            "seed": s,
        }
        for n in fid
        for s in seeds
    ]
    (row,) = against(schema.check(pd.DataFrame(rows)), "C").of("fid")
    logs = {n: np.log(values) for n, values in fid.items()}
    expected = np.sqrt(((logs["A"] - logs["C"]) ** 2).mean()) / logs["C"].std(ddof=1)
    assert row.apart == pytest.approx(expected, rel=1e-12)


def test_progress_is_what_the_slowest_comparison_needs() -> None:
    both = found(ROW, open_row(8), open_row(11, formulation="B"))
    assert decided.progress(both, 60.0) == (
        "11 seeds in all would decide at the present mean and noise, about 5 minutes more"
    )
    assert decided.progress(both, 0.0).endswith("noise")
    assert decided.progress(found(ROW), 60.0) == ""
    assert decided.progress(found(open_row(None)), 60.0).startswith("over 1,000 seeds")
