"""Our order against the paper's: coefficients against scipy, hand-worked cases, and no disagreement out of noise."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, norm, pearsonr, spearmanr

from analysis.published import paper_tables
from analysis.published.versus import BETWEEN, RANDOM, Versus, holm, versus
from analysis.ranking.result import Ends
from analysis.stats import true_order
from analysis.stats.association import kendall, pearson, spearman
from analysis.stats.two_way import fit
from analysis.tables import output
from analysis.tables.layout import Screen
from flowbench._core.errors import UserError

FOUR = ("rf/lognorm(0.00,1.00)", "eps/linear", "rf", "v/cos")
"""In the paper's order: 1.54, 2.88, 5.67, 9.17."""


def ranking(ranks: dict[str, float]) -> pd.Series:
    return pd.Series(ranks).sort_index().sort_values(kind="stable")


def swapped(p_value: Callable[[str, str], float] | None = None) -> Versus:
    """The paper's order but for one pair, and a formulation that the paper does not rank."""
    ranks = dict(zip(FOUR, (1.0, 3.0, 2.0, 4.0), strict=True)) | {"rf/mode(-1.00)": 1.5}
    return versus(ranking(ranks), p_value=p_value)


def test_one_swapped_pair_of_six_by_hand() -> None:
    """tau = (5 - 1) / 6; rho = 1 - 6 (0 + 1 + 1 + 0) / (4 x 15); of 24 orders one agrees wholly, three but for a swap."""
    found = swapped()
    assert found.tau.value == pytest.approx(4 / 6)
    assert found.rho.value == pytest.approx(0.8)
    assert (found.p, found.p_floor, found.exact) == (pytest.approx(4 / 24), pytest.approx(1 / 24), True)
    assert list(found.shared["formulation"]) == list(FOUR)
    assert list(found.shared["paper_place"]) == [1, 2, 3, 4]
    assert list(found.shared["place"]) == [1, 3, 2, 4]
    assert list(found.shared["position"]) == [1, 4, 3, 5]
    assert found.formulations == 5


RANKS = st.lists(st.integers(0, 6), min_size=3, max_size=12).filter(lambda values: len(set(values)) > 1)


@given(RANKS, st.integers(0, 99))
def test_the_coefficients_are_scipys_with_ties_too(ranks: list[int], seed: int) -> None:
    ours, other = np.array(ranks, float), np.random.default_rng(seed).permutation(len(ranks)).astype(float)
    assert kendall(ours[None], other)[0] == pytest.approx(kendalltau(ours, other).statistic)
    assert spearman(ours[None], other)[0] == pytest.approx(spearmanr(ours, other).statistic)
    assert pearson(ours[None], other)[0] == pytest.approx(pearsonr(ours, other).statistic)


@pytest.mark.parametrize("count", [3, 6, 8, 12])
def test_chance_is_the_exact_distribution_of_kendalls_tau(count: int) -> None:
    there = paper_tables.published().iloc[:count]
    ours = pd.Series(np.random.default_rng(3).normal(size=count) + 0.2 * np.arange(count), there.index)
    found = versus(ranking(ours.to_dict()))
    exact = kendalltau(ours, there, method="exact", alternative="greater").pvalue
    assert found.exact == (count <= 8)
    near = 1e-12 if found.exact else 4 * np.sqrt(exact * (1 - exact) / RANDOM)
    assert found.p == pytest.approx(exact, abs=near)


def test_the_smallest_p_value_with_ties_of_ours_is_shared_by_several_orders() -> None:
    found = versus(ranking(dict(zip(FOUR, (1.0, 2.0, 2.0, 3.0), strict=True))))
    assert found.p == found.p_floor == pytest.approx(2 / 24)


@pytest.mark.parametrize("agreement", [0.0, 0.5, 0.9])
def test_the_interval_holds_the_correlation_of_the_true_order(agreement: float) -> None:
    """Simulated: true means that go with the paper's order so far, and three noisy seeds of each."""
    rng, published, held = np.random.default_rng(2), paper_tables.published(), []
    line = norm.ppf((np.arange(16) + 0.5) / 16)
    errors: list[tuple[float, float]] = []
    for i in range(80):
        true = agreement * line / line.std() + np.sqrt(1 - agreement**2) * rng.normal(size=16)
        model = fit(true[:, None] + rng.normal(size=(16, 3)), list(published.index), range(3))
        variances = model.moderated / model.replicates
        drawn = true_order.draws(
            model.means, variances, float(model.moderated_df), published.to_numpy(), number=400, seed=i
        )
        estimate, low, high = true_order.correlation(kendall, drawn, published.to_numpy())
        tau = kendalltau(true, published).statistic
        measured = kendalltau(model.means, published).statistic
        held.append(low - 1e-9 <= tau <= high + 1e-9)
        errors.append((estimate - tau, measured - tau))
        assert low < estimate < high
    assert np.mean(held) >= 0.88  # 95 % less three standard errors
    ours, raw = np.abs(np.mean(errors, axis=0))
    assert ours < max(raw, 0.03)  # less biased than what is measured


def test_noise_is_taken_out_of_the_correlation() -> None:
    """The published instance: an order at the end of the interval around it."""
    names, rng = list(paper_tables.published().index), np.random.default_rng(0)
    true = np.arange(1.0, 17) / 3
    model = fit(true[:, None] + 1.5 * rng.normal(size=(16, 2)), names, range(2))
    found = versus(ranking(dict(zip(names, model.means, strict=True))), model)
    for one in (found.tau, found.rho):
        assert one.true is not None
        assert one.low is not None
        assert one.high is not None
        assert one.value < one.true < 1
        assert one.low < one.true < one.high
    assert f"of the true order {found.tau.true:.2f} [" in found.lines()[0]
    exact = fit(np.repeat(true[:, None], 2, axis=1), names, range(2))
    assert versus(ranking(dict(zip(names, true, strict=True))), exact).tau.true is None


def test_the_clearest_disagreements_are_written_out_and_all_are_in_json() -> None:
    names = list(paper_tables.published().index)
    order = {frozenset(pair): i for i, pair in enumerate(itertools.combinations(names, 2))}
    reverse = dict(zip(names, np.arange(16.0, 0, -1), strict=True))
    found = versus(ranking(reverse), p_value=lambda f, g: 1e-9 * order[frozenset((f, g))])
    written = [line for line in found.lines() if " there (" in line]
    assert len(found.disagreements) == 120
    assert len(written) == 10
    assert written[0].startswith(
        f"{names[0]} before {names[1]} there (1.54 and 2.08), after it here (16.00 and 15.00, p < 0.001"
    )
    assert any("120 by more than noise, first the 10 clearest" in line for line in found.lines())
    assert len(json.loads(output.write([found.table()], "json"))["pairs"]) == 120


def test_one_seed_has_no_intervals_and_no_disagreements_and_says_so() -> None:
    found = swapped()
    assert (found.tau.low, found.rho.high) == (None, None)
    assert found.disagreements.empty
    assert any("1 of 6 pairs" in line and "with one seed" in line for line in found.lines())


def test_a_pair_disagrees_if_the_order_is_another_and_holm_rejects() -> None:
    def p_value(f: str, g: str) -> float:
        return {("eps/linear", "rf"): 0.008, (FOUR[0], "v/cos"): 0.0001}.get((f, g), 0.5)

    found = swapped(p_value)
    assert list(found.disagreements[["first", "second"]].itertuples(index=False, name=None)) == [
        ("eps/linear", "rf")
    ]
    assert found.disagreements["p_holm"].item() == pytest.approx(5 * 0.008)
    assert found.disagreements["difference"].item() == pytest.approx(1.0)
    assert (
        sum("eps/linear before rf there (2.88 and 5.67), after it here" in line for line in found.lines())
        == 1
    )


def test_a_swapped_pair_within_the_noise_is_counted_and_not_named() -> None:
    found = swapped(lambda f, g: 0.02)
    assert found.disagreements.empty
    assert any(
        "1 of 6 pairs are in the other order here, none by more than noise" in line for line in found.lines()
    )


def test_holm_by_hand_and_with_a_pair_that_has_no_test() -> None:
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.01, np.nan, 0.4])) == pytest.approx([0.03, np.nan, 0.8], nan_ok=True)


@pytest.mark.long
def test_equal_formulations_disagree_with_the_paper_in_at_most_one_grid_of_twenty() -> None:
    rng, names, wrong = np.random.default_rng(1), list(paper_tables.published().index[:6]), 0
    for _ in range(400):
        ranks = dict(zip(names, rng.normal(size=6), strict=True))
        deviation = np.sqrt(2)

        def p_value(f: str, g: str, ranks: dict[str, float] = ranks, deviation: float = deviation) -> float:
            return float(2 * norm.sf(abs(ranks[f] - ranks[g]) / deviation))

        wrong += not versus(ranking(ranks), p_value=p_value).disagreements.empty
    assert wrong <= 0.05 * 400


def test_equal_ranks_have_no_coefficient() -> None:
    found = versus(ranking(dict.fromkeys(FOUR, 1.0)))
    assert np.isnan(found.tau.value)
    assert found.p == 1
    assert "Kendall's tau-b undefined" in found.lines()[0]


def test_the_table_shows_both_places_and_the_sentences() -> None:
    table = swapped().table()
    assert list(table.cells.iloc[1]) == ["eps/linear", "2.88", "2", "3", "3.00", "4"]
    assert list(table.notes) == swapped().lines()
    for width in (60, 80):
        lines = output.write([table], screen=Screen(width)).splitlines()
        assert max(map(len, lines)) <= width
        assert "place there  place here" in lines[2]


def test_our_positions_stand_with_their_intervals() -> None:
    ranks = ranking({"rf": 1.0, "eps/linear": 2.0, "rf/mode(-1.00)": 3.0, "v/cos": 4.0})
    low = pd.Series([1.0, 1.0, 2.0, np.nan], ranks.index)
    high = pd.Series([2.0, 3.0, 4.0, np.nan], ranks.index)
    table = versus(ranks, between=Ends(low, high)).table()
    texts = table.texts().set_index("formulation")["position here"]
    assert texts.to_dict() == {"eps/linear": "2 [1, 3]", "rf": "1 [1, 2]", "v/cos": "4"}
    assert BETWEEN in table.notes
    assert list(table.frame["position_high"][:2]) == [3, 2]


def test_fewer_than_three_shared_formulations_is_one_sentence() -> None:
    with pytest.raises(
        UserError, match=r"shares 2 \(eps/linear, rf\) with the paper's table 1: .* e\.g\. v/cos"
    ):
        versus(ranking({"rf": 1.0, "eps/linear": 2.0, "rf/mode(-1.00)": 3.0}))
    with pytest.raises(UserError, match=r"shares 0 \(none\)"):
        versus(ranking({"rf/mode(-1.00)": 3.0}))
