"""An interval is of the number next to it: random tables with datasets of different seeds, lost rows and diverged cells."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from analysis.ranking import uncertainty
from analysis.ranking.notes import headings, notes
from analysis.ranking.render import ranking_table
from analysis.ranking.result import RankingResult
from analysis.ranking.score_matrix import Wide, make
from analysis.report import findings
from analysis.stats import position_bootstrap
from flowbench._core.errors import UserError

from ..rankings import rank, results

METRICS = {"rank_all": "rank", "clip": "clip", "fid": "fid", "val_loss": "val_loss"}
PHASES = (Phase.explicit, Phase.generate)  # no shrinking: an example is a whole table
SAMPLERS = ((5, 5.0), (50, 5.0))


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    assert uncertainty.of.__defaults__ == (position_bootstrap.DRAWS,)
    monkeypatch.setattr(uncertainty.of, "__defaults__", (40,))


@st.composite
def designs(draw: st.DrawFn) -> pd.DataFrame:
    """Two to five formulations on one to three datasets, each with its own one to five seeds."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    names = [f"f{i}" for i in range(draw(st.integers(2, 5)))]
    noise, lost = draw(st.sampled_from([0.0, 0.3, 3.0])), draw(st.sampled_from([0.0, 0.0, 0.05, 0.3]))
    kind = draw(st.sampled_from(["rows", "cells"]))
    rows: list[dict[str, Any]] = []
    for d in range(draw(st.integers(1, 3))):
        first = draw(st.integers(0, 2))
        for seed in range(first, first + draw(st.integers(1, 5))):
            luck = rng.normal()
            for i, name in enumerate(names):
                gone = rng.random() < lost
                state = rng.choice(["diverged", "failed", "gone"])
                for steps, cfg in SAMPLERS:
                    away = gone if kind == "cells" else rng.random() < lost
                    if away and state == "gone":
                        continue
                    e = noise * (luck + rng.normal(size=3))
                    rows.append(
                        {"formulation": name, "dataset": f"d{d}", "seed": seed, "weights": "ema"}
                        | {"steps": steps, "cfg": cfg, "status": state if away else "done"}
                        | {"clip": 30 + 5 * d + i * (1 - d) + e[0]}
                        | {"fid": (20 - i) * np.exp(d + e[1] / 9), "val_loss": np.exp(i / 50 + e[2] / 99)}
                    )
    return pd.DataFrame(rows)


@settings(max_examples=12, deadline=None, phases=PHASES, suppress_health_check=list(HealthCheck))
@given(designs())
def test_what_is_printed_is_of_one_set(frame: pd.DataFrame) -> None:
    try:
        ranked = rank(frame)
    except UserError:
        return  # nothing to rank
    checked = results(frame)
    table, found = make(checked.frame, checked.metrics), ranked.frame()
    intervals_contain_their_numbers(found)
    the_best_of_a_column_may_be_the_best(found)
    blocks_have_the_printed_means(table)
    the_order_agrees_with_itself(ranked, uncertainty.of(table))
    marks_are_those_of_the_whole_ranking(ranked)
    by_name = found.set_index("formulation")
    for response, pair in findings.pairs(ranked).items():
        column = next(c for c, n in METRICS.items() if n == response)
        first, second = by_name[column][pair.best], by_name[column][pair.second]
        ahead = first - second if response == "clip" else second - first
        assert ahead >= -1e-9 * abs(first)
    if min(table.seed_counts.values()) < 2:
        marks = [f"{name}_tied" for name in METRICS.values()]
        assert found[[*marks, "position_low", "position_high"]].isna().all(axis=None)
        assert "first" not in found
        assert any("one seed" in line or "no interval" in line for line in notes(ranked))


def intervals_contain_their_numbers(found: pd.DataFrame) -> None:
    for column, name in METRICS.items():
        if f"{name}_low" in found:
            there = found[f"{name}_low"].notna()
            assert (found[f"{name}_low"] <= found[column])[there].all()
            assert (found[column] <= found[f"{name}_high"])[there].all()
        if f"{name}_behind_low" in found:
            behind = found[column] - found[column].iloc[0]
            near = 1e-9 * found[column].abs()
            there = found[f"{name}_behind_low"].notna()
            assert (found[f"{name}_behind_low"] <= behind + near)[there].all()
            assert (behind - near <= found[f"{name}_behind_high"])[there].all()
    if "wins" in found:
        there = found["wins"].notna()
        assert ((found["wins_low"] <= found["wins"]) & (found["wins"] <= found["wins_high"]))[there].all()
    there = found["position_low"].notna()
    assert (found["position_low"] <= found["position"])[there].all()
    assert (found["position"] <= found["position_high"])[there].all()


def the_best_of_a_column_may_be_the_best(found: pd.DataFrame) -> None:
    """Of those with a mark the best in print is marked, and so are all that lead by the ranking."""
    for column, name in METRICS.items():
        values = found.loc[found[f"{name}_tied"].notna(), column]
        if len(values):
            best = values.idxmax() if column == "clip" else values.idxmin()
            assert bool(found[f"{name}_tied"][best])


def blocks_have_the_printed_means(table: Wide) -> None:
    for name in METRICS.values():
        blocks = table.blocks(name).complete()
        means = pd.Series(table.means(name), index=list(table.names))[blocks.table.index]
        np.testing.assert_allclose(blocks.table.to_numpy() @ blocks.weights, means, rtol=1e-12)
        if name in ("fid", "val_loss"):
            relative = blocks.relative()
            logs = relative.table.to_numpy() @ relative.weights
            np.testing.assert_allclose(logs, np.log(means), rtol=1e-9, atol=1e-12)


def the_order_agrees_with_itself(found: RankingResult, known: uncertainty.Uncertainty) -> None:
    ranks, agreement = found.value("rank_all"), found.facts.agreement
    assert (known.stability is None) == (agreement is None)
    if known.stability is None or agreement is None:
        return
    assert 0 <= agreement <= 1
    if known.models["rank"].variance == 0 and ranks.nunique() == len(ranks):
        order = ranks[list(known.stability.names)]
        assert kendalltau(known.stability.draws.mean(axis=0), order).statistic > 0


def marks_are_those_of_the_whole_ranking(ranked: RankingResult) -> None:
    """Whatever is shown: bold only where formulations are separated, never at one seed, never a mean over less."""
    whole, found = ranking_table(ranked), ranked.frame()
    for heading in whole.best:
        best, lacking = whole.best[heading], whole.lacking[heading]
        assert not (best & (lacking | whole.tied[heading])).any()
        if best.any():
            column = next(c for c, h in headings(ranked.facts).items() if h == heading)
            fair = found[column].where(~lacking)
            assert (found[column][best] == (fair.max() if column == "clip" else fair.min())).all()
            assert not found[f"{METRICS[column]}_tied"].fillna(True).all()
            assert METRICS[column] not in ranked.facts.unknown
    for kept in (found["formulation"].head(1), found["formulation"].tail(2), found["formulation"][::2]):
        part, rows = ranking_table(ranked, list(kept)), found["formulation"].isin(kept)
        for which in ("best", "tied", "lacking"):
            shown = getattr(part, which)
            assert shown.equals(getattr(whole, which)[rows][list(shown)])


def unbalanced(seeds: dict[str, tuple[int, ...]]) -> pd.DataFrame:
    """A is better on shapes, b on digits, and by more."""
    rng = np.random.default_rng(0)
    rows = []
    for dataset, several in seeds.items():
        for seed, name, (steps, cfg) in itertools.product(several, "ab", SAMPLERS):
            worse = (name == "b") if dataset == "shapes" else 10 * (name == "a")
            rows.append(
                {"formulation": name, "dataset": dataset, "seed": seed, "weights": "ema", "steps": steps}
                | {"cfg": cfg, "clip": 30 - worse + 0.1 * rng.normal()}
                | {"fid": 20 + worse + 0.1 * rng.normal()}
            )
    return pd.DataFrame(rows)


@pytest.mark.parametrize("digits", [(0, 1), (7, 8)])
def test_datasets_with_other_seeds(digits: tuple[int, ...]) -> None:
    """The published instance: shapes with seeds 0 to 2, digits with two, the same ones or others."""
    frame = unbalanced({"shapes": (0, 1, 2), "digits": digits})
    ranked = rank(frame)
    found = ranked.frame().set_index("formulation")
    apart = frame.groupby("formulation")["fid"].mean()
    assert found["fid"]["a"] - found["fid"]["b"] == pytest.approx(apart["a"] - apart["b"])
    # a leads by fronts (three seeds of five), and is behind in FID by 10 x 2/5 - 1 x 3/5.
    assert list(found.index) == ["a", "b"]
    assert found["fid_behind_low"]["b"] < -3.4 < found["fid_behind_high"]["b"]
    assert list(found["position_low"]) == list(found["position_high"]) == [1, 2]
    assert ranked.facts.agreement == 1
    assert not any("no interval" in line for line in notes(ranked))
    assert any("2 to 3 seeds" in line for line in notes(ranked))
