"""Formulations against a baseline, and the race of all: verdicts, levels, and what is left."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.comparisons.baseline import Beaten, against, survivors
from analysis.runs import schema
from analysis.runs.schema import Results
from analysis.stats import sequential
from flowbench._core.errors import UserError


def table(**values: list[float]) -> Results:
    """One setting and dataset: FID by formulation and seed; CLIP is ``50 - FID``. None is a seed that was not trained, NaN
    one that diverged."""
    rows = [
        {
            "formulation": name,
            "dataset": "shapes",
            "seed": seed,
            "weights": "ema",
            "steps": 50,
            "cfg": 5.0,
            "fid": fid,
            "clip": 50 - fid,
            "status": "diverged" if math.isnan(fid) else "done",
        }
        for name, of_seeds in values.items()
        for seed, fid in enumerate(of_seeds)
        if fid is not None
    ]
    return schema.check(pd.DataFrame(rows))


def noisy(level: float, seeds: int, seed: int, noise: float = 0.02) -> list[float]:
    return list(level * np.exp(noise * np.random.default_rng(seed).normal(size=seeds)))


BASE = noisy(20.0, 8, 0)
WORSE = noisy(26.0, 8, 1)
ALIKE = noisy(20.1, 8, 2)


def test_numbers_are_those_of_the_log_ratios() -> None:
    found = against(table(base=BASE, worse=WORSE, alike=ALIKE), "base")
    assert found.rivals == ("alike", "worse")
    assert found.each == 0.025
    (alike, worse) = found.of("fid")
    apart = np.log(WORSE) - np.log(BASE)
    expected = sequential.interval(list(apart), 0.025)
    assert worse.percent
    assert worse.n == 8
    assert worse.estimate == pytest.approx(100 * math.expm1(expected.estimate))
    assert (worse.low, worse.high) == pytest.approx(
        (100 * math.expm1(expected.low), 100 * math.expm1(expected.high))
    )
    assert worse.e_value == pytest.approx(sequential.e_value(list(apart)))
    assert worse.p_better == pytest.approx(1 - sequential.positive_probability(list(apart)))
    assert (worse.verdict, worse.seeds_needed) == ("worse", 8)
    assert alike.verdict == "undecided"
    assert alike.seeds_needed == sequential.seeds_needed(list(np.log(ALIKE) - np.log(BASE)), level=0.025)
    assert not found.settled


def test_a_metric_with_more_is_better_agrees_with_its_mirror_image() -> None:
    found = against(table(base=BASE, worse=WORSE), "base", primary="clip")
    (clip,) = found.of("clip")
    assert (clip.verdict, clip.percent) == ("worse", False)
    assert clip.estimate == pytest.approx(np.mean(BASE) - np.mean(WORSE))
    assert clip.low < clip.estimate < clip.high < 0
    back = against(table(base=BASE, worse=WORSE), "worse", primary="clip").of("clip")[0]
    assert (back.verdict, back.low, back.high) == (
        "better",
        pytest.approx(-clip.high),
        pytest.approx(-clip.low),
    )


def test_the_margin_belongs_to_the_primary_metric() -> None:
    frame = table(base=BASE, alike=ALIKE)
    found = against(frame, "base", margin=10.0)
    assert [row.verdict for row in found.rows] == ["equivalent", "undecided"]
    assert found.settled
    assert against(frame, "base", margin=1.0).of("fid")[0].verdict == "undecided"
    with pytest.raises(UserError, match="the margin is 0"):
        against(frame, "base", margin=0.0)


def test_the_level_is_divided_among_the_rivals() -> None:
    pair = against(table(base=BASE, worse=WORSE), "base").of("fid")[0]
    among = against(table(base=BASE, worse=WORSE, **{f"r{i}": noisy(20, 8, 9 + i) for i in range(9)}), "base")
    (crowded,) = (row for row in among.of("fid") if row.formulation == "worse")
    assert crowded.estimate == pytest.approx(pair.estimate)
    assert crowded.low < pair.low
    expected = sequential.interval(list(np.log(WORSE) - np.log(BASE)), 0.005)
    assert crowded.high == pytest.approx(100 * math.expm1(expected.high))
    looser = against(table(base=BASE, worse=WORSE), "base", level=0.2).of("fid")[0]
    assert looser.low > pair.low
    with pytest.raises(UserError, match="the level is 1"):
        against(table(base=BASE, worse=WORSE), "base", level=1.0)


def test_only_the_metrics_that_are_asked_for() -> None:
    frame = table(base=BASE, worse=WORSE)
    assert list(against(frame, "base").metrics) == ["fid", "clip"]
    assert list(against(frame, "base", metrics=[]).metrics) == ["fid"]
    assert list(against(frame, "base", metrics=["clip", "fid"], primary="clip").metrics) == ["clip", "fid"]
    with pytest.raises(UserError, match="no metric 'clp'; did you mean 'clip'"):
        against(frame, "base", metrics=["clp"])


def test_few_seeds_have_no_interval() -> None:
    (row,) = against(table(base=BASE[:3], worse=WORSE[:3]), "base").of("fid")
    assert (row.low, row.high, row.verdict) == (-math.inf, math.inf, "undecided")
    assert row.seeds_needed is not None
    (none,) = against(table(base=BASE[:1], worse=[None, *WORSE[1:3]]), "base").of("fid")  # type: ignore[list-item]
    assert (none.n, none.e_value, none.p_better, none.seeds_needed) == (0, 1.0, 0.5, None)
    assert math.isnan(none.estimate)


def test_what_diverged_is_not_compared() -> None:
    lost = [*WORSE[:4], math.nan, *WORSE[5:]]
    found = against(table(base=BASE, lost=lost, worse=WORSE), "base")
    assert found.rivals == ("worse", "lost")
    row = found.of("fid")[1]
    assert row.verdict == "undecided"
    assert math.isnan(row.estimate)
    assert math.isnan(row.p_better)
    assert [(entry.state, entry.seeds, entry.of) for entry in row.lost] == [("diverged", 1, 8)]
    assert row.settled
    (other,) = (r for r in against(table(base=BASE, lost=lost), "lost").of("fid"))
    assert other.lost[0].formulation == "lost"
    assert other.verdict == "undecided"


def test_a_copy_is_equal() -> None:
    (row,) = against(table(base=BASE, copy=BASE), "base").of("fid")
    assert (row.estimate, row.low, row.high, row.verdict) == (0.0, 0.0, 0.0, "equivalent")


def test_the_baseline_is_found_under_every_spelling_of_its_numbers() -> None:
    frame = table(**{"rf/mode(1.29)": BASE, "rf/lognorm(0.00,1.00)": WORSE})
    assert against(frame, "rf/lognorm(0, 1)").baseline == "rf/lognorm(0.00,1.00)"
    with pytest.raises(
        UserError, match=r"'rf/mod\(1.29\)' is not in the table; did you mean 'rf/mode\(1.29\)'"
    ):
        against(frame, "rf/mod(1.29)")
    with pytest.raises(UserError, match="it has no rival"):
        against(table(base=BASE), "base")


def test_the_race_keeps_what_no_other_beats() -> None:
    found = survivors(table(base=BASE, worse=WORSE, alike=ALIKE))
    assert found.survivors == tuple(
        sorted(("base", "alike"), key={"base": sum(BASE), "alike": sum(ALIKE)}.get)
    )  # type: ignore[arg-type]
    assert list(found.out) == ["worse"]
    assert found.out["worse"].seeds == 8
    assert not found.decided
    alone = survivors(table(base=BASE, worse=WORSE))
    assert (alone.survivors, alone.out, alone.decided) == (("base",), {"worse": Beaten("base", 8)}, True)
    by_clip = survivors(table(base=BASE, worse=WORSE), metric="clip")
    assert by_clip.survivors == ("base",)


def test_survivors_within_the_margin_decide_the_race() -> None:
    frame = table(base=BASE, worse=WORSE, alike=ALIKE)
    assert survivors(frame, margin=10.0).decided
    assert set(survivors(frame, margin=10.0).survivors) == {"base", "alike"}
    assert not survivors(frame, margin=1.0).decided
    with pytest.raises(UserError, match="the margin is -1"):
        survivors(frame, margin=-1.0)


def test_what_left_the_race_stays_out() -> None:
    whole, short = table(base=BASE, alike=ALIKE, worse=WORSE), table(base=BASE, alike=ALIKE, worse=WORSE[:5])
    assert survivors(short).out["worse"].seeds == 5
    assert survivors(short).survivors == survivors(whole).survivors


def test_the_race_divides_the_level_among_the_rivals_of_one() -> None:
    base, factors = BASE[:5], np.array([1.0605, 1.0395, 1.0626, 1.0448, 1.05])
    assert sequential.verdict(list(np.log(factors)), level=0.05) == "higher"
    assert sequential.verdict(list(np.log(factors)), level=0.05 / 16) == "undecided"
    rival = list(base * factors)
    assert survivors(table(base=base, rival=rival)).survivors == ("base",)
    crowd = {f"r{i}": noisy(80.0, 5, 20 + i, 0.2) for i in range(15)}
    among = table(base=base, rival=rival, **crowd)
    assert survivors(among).survivors[:2] == ("base", "rival")
    assert "rival" in survivors(among, level=0.8).out


def test_a_formulation_that_diverged_is_out_where_another_did_not() -> None:
    lost = [*BASE[:4], math.nan, *BASE[5:]]
    found = survivors(table(base=BASE, alike=ALIKE, lost=lost))
    assert found.out == {"lost": Beaten(None, 8)}
    assert found.lost["lost"][0].state == "diverged"
    both = survivors(table(one=lost, other=lost))
    assert (set(both.survivors), both.out, both.decided) == ({"one", "other"}, {}, False)
    assert both.settled, "no further seed gives them a value"


def test_values_at_a_floor_hide_what_differs() -> None:
    """Both score 0 in every seed: only a margin makes that an answer. Equal values that vary are those of one training."""
    floor = table(base=[50.0] * 8, other=[50.0] * 8)  # CLIP is 0
    for primary in ("clip", "fid"):
        (row,) = against(floor, "base", (), primary).rows
        assert (row.verdict, row.settled, row.seeds_needed) == ("undecided", False, None)
        assert not survivors(floor, primary).decided
        assert against(floor, "base", (), primary, margin=1.0).settled
        assert survivors(floor, primary, margin=1.0).decided
        assert against(table(base=BASE, other=BASE), "base", (), primary).settled
    assert against(table(base=[20.0] * 8, other=[30.0] * 8), "base").of("fid")[0].verdict == "worse"


def test_what_only_a_diverged_formulation_had_beaten_is_back() -> None:
    best = [x / 2 for x in BASE]
    assert survivors(table(best=best, base=BASE)).survivors == ("best",)
    assert survivors(table(best=[*best[:7], math.nan], base=BASE)).survivors == ("base",)


def test_before_any_seed_all_are_in_the_race() -> None:
    begun = table(base=BASE[:2], alike=ALIKE[:2])
    frame = replace(begun, frame=begun.frame.assign(status="pending", fid=np.nan, clip=np.nan))
    found = survivors(frame)
    assert (found.survivors, found.out, found.decided) == (("alike", "base"), {}, False)
    assert against(frame, "base").of("fid")[0].n == 0
