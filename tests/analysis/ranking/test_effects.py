"""Main effects of a cross: against an analysis of variance with repeated measures; the full part of a cross."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel
from statsmodels.stats.anova import AnovaRM

from analysis.ranking.blocks import Blocks
from analysis.ranking.effects import Effects
from analysis.ranking.effects import effects as of_blocks
from analysis.stats.best import critical

BASES, SAMPLERS = ("edm", "rf", "v/cos"), ("cosmap", "mode", "uniform", "lognorm")


def table(seed: int = 0, noise: float = 1.0, interaction: float = 1.0, seeds: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    index = pd.MultiIndex.from_product([BASES, SAMPLERS], names=["base", "sampler"])
    base, sampler = np.repeat([0.0, 2.0, -1.0], 4), np.tile([0.0, 0.5, 1.0, -0.5], 3)
    cells = base + sampler + interaction * rng.normal(size=12)
    y = cells[:, None] + noise * rng.normal(size=(12, seeds)) + 5 * rng.normal(size=(1, seeds))
    return pd.DataFrame(y, index=index, columns=range(seeds))


def effects(frame: pd.DataFrame) -> Effects | None:
    """Of a table with one column for each seed of one dataset."""
    columns = pd.MultiIndex.from_product([["shapes"], frame.columns])
    return of_blocks(Blocks(frame.set_axis(columns, axis=1), np.full(len(columns), 1 / len(columns)), None))


def of(frame: pd.DataFrame) -> Effects:
    found = effects(frame)
    assert found is not None
    return found


def test_agrees_with_the_analysis_of_variance_with_repeated_measures() -> None:
    frame = table(interaction=2.0)
    long = frame.stack().rename("y").reset_index()
    long.columns = pd.Index(["b", "p", "s", "y"])
    anova, found = AnovaRM(long, "y", "s", within=["b", "p"]).fit().anova_table, of(frame)
    both = found.interaction
    line = anova.loc["b:p"]
    assert (both.f, both.df, both.p) == pytest.approx((line["F Value"], line["Den DF"], line["Pr > F"]))
    for factor, name in zip(found.factors, "bp", strict=True):
        line, levels = anova.loc[name], len(factor.levels)
        f = np.sum((factor.means - factor.means.mean()) ** 2) / (levels - 1) / factor.variance
        assert (f, factor.df) == pytest.approx((line["F Value"], line["Den DF"]))
    degrees = anova["Num DF"].to_numpy()
    unit = np.array([factor.variance * 12 / len(factor.levels) for factor in found.factors])
    unit = np.array([*unit, both.variance / 3])  # of one value, over the seeds
    beyond = (anova["F Value"].to_numpy() - 1) * degrees * unit
    assert (beyond > 0).all()
    np.testing.assert_allclose(found.shares, beyond / beyond.sum())


def test_two_levels_differ_as_in_a_paired_t_test() -> None:
    frame = table().loc[["edm", "rf"]]
    by_base = frame.groupby(level="base").mean()
    test = ttest_rel(by_base.loc["edm"], by_base.loc["rf"]).confidence_interval()
    apart = of(frame).factors[0].differences(1)[0]
    np.testing.assert_allclose([apart.low, apart.high], [test.low, test.high])


def test_luck_that_a_whole_level_shares_is_in_its_interval() -> None:
    """As the initial weights of a network, which all its formulations start from."""
    rng, held = np.random.default_rng(0), []
    for _ in range(120):
        frame = table(int(rng.integers(1 << 30)), interaction=0.0, noise=0.2)
        luck = pd.DataFrame(rng.normal(size=(4, 3)), index=SAMPLERS)
        shared = frame + luck.loc[frame.index.get_level_values("sampler")].to_numpy()
        found = of(shared).factors[1].effects()
        held.append((found.low <= [-0.25, 0.25, 0.75, -0.75]) & (found.high >= [-0.25, 0.25, 0.75, -0.75]))
    assert np.mean(held) == pytest.approx(0.95, abs=0.03)


def test_the_size_of_an_interaction_is_in_its_interval() -> None:
    rng, held = np.random.default_rng(0), []
    apart = rng.normal(size=(3, 4))
    apart = apart - apart.mean(axis=0) - apart.mean(axis=1, keepdims=True) + apart.mean()
    for scale in (0.0, 0.5, 2.0):
        for seed in range(80):
            frame = table(seed, interaction=0.0) + scale * apart.reshape(12, 1)
            (low, high), size = of(frame).interaction.ends(), scale * np.sqrt(np.mean(apart**2))
            held.append(low <= size <= high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.042)  # three standard errors
    assert of(table(interaction=0.0, noise=0.0)).interaction.variance == 0


def test_the_best_within_each_level_of_the_other_factor() -> None:
    means = np.array([[2.0, 2.0, 0.0], [0.0, 0.0, 2.0]])

    def within(noise: float) -> list[list[bool]]:
        y = means.reshape(6, 1) + noise * np.random.default_rng(3).normal(size=(6, 4))
        index = pd.MultiIndex.from_product([["a", "b"], ["x", "y", "z"]], names=["base", "sampler"])
        found = of(pd.DataFrame(y, index=index, columns=range(4))).factors[0].not_separable_within(True)
        return [list(map(bool, row)) for row in found]

    assert within(0.01) == [[True, True, False], [False, False, True]]
    assert within(2.0) == [[True] * 3] * 2


def test_the_gap_within_levels_holds_for_all_of_them_together() -> None:
    held = []
    for seed in range(120):
        frame = table(seed, interaction=0.0)
        frame -= np.repeat([0.0, 2.0, -1.0], 4)[:, None]
        factor = of(frame).factors[0]  # all levels are equally good, so each is the best
        held.append(factor.not_separable_within(True)[0].all())
    assert np.mean(held) >= 0.95 - 0.06  # three standard errors


def test_what_is_not_separable_from_the_best_level() -> None:
    found = of(table(noise=0.1, interaction=0.0))
    base, sampler = found.factors
    assert base.levels == BASES
    assert base.gap() == pytest.approx(critical(3, 4) * math.sqrt(2 * base.variance))
    assert sampler.gap() == pytest.approx(critical(4, 6) * math.sqrt(2 * sampler.variance))
    assert base.not_separable(higher_is_better=True).tolist() == [False, True, False]
    assert base.not_separable(higher_is_better=False).tolist() == [False, False, True]
    assert base.differences(1).high[1] == 0
    first, second, both = found.shares
    assert first > second > 0.05 > both


def test_without_an_interaction_its_test_is_uniform() -> None:
    p = [of(table(seed, interaction=0.0)).interaction.p for seed in range(300)]
    assert np.mean(np.less(p, 0.1)) == pytest.approx(0.1, abs=0.052)  # three standard errors
    assert np.mean(p) == pytest.approx(0.5, abs=0.05)


def test_the_full_part_of_a_cross_is_taken_and_the_rest_named() -> None:
    whole = table()
    lost = whole.drop(("edm", "mode")).copy()
    lost.loc[("edm", "uniform")] = np.nan
    found = of(lost)
    assert found.left_out == (("edm",), ())
    without = of(whole.loc[["rf", "v/cos"]])
    assert found.interaction.variance == pytest.approx(without.interaction.variance)
    np.testing.assert_allclose(found.factors[0].means, without.factors[0].means)
    unfinished = whole.assign(**{"3": np.where(np.arange(12) < 2, 1.0, np.nan)})
    assert of(unfinished).counts == {"shapes": 3}


def test_none_without_a_cross() -> None:
    frame = table()
    assert effects(frame.loc[["rf"]]) is None
    assert effects(frame.loc[(slice(None), ["mode"]), :]) is None
    assert effects(frame[[0]]) is None
    star = [(b, s) for b, s in itertools.product(BASES, SAMPLERS) if (b == "rf") != (s == "mode")]
    assert effects(frame.loc[star]) is None
    with pytest.raises(ValueError, match="twice"):
        effects(pd.concat([frame, frame.iloc[:1]]))
