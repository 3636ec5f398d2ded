"""Main effects of a cross: against statsmodels' analysis of variance, and what a cross that is not full leaves."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf

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


def test_agrees_with_the_analysis_of_variance() -> None:
    frame = table(interaction=2.0)
    long = frame.stack().rename("y").reset_index()
    long.columns = pd.Index(["b", "p", "s", "y"])
    ols = smf.ols("y ~ C(b, Sum) * C(p, Sum) + C(s, Sum)", long).fit()
    anova, found = sm.stats.anova_lm(ols, typ=2), of(frame)
    assert found.variance == pytest.approx(ols.mse_resid)
    assert found.df == ols.df_resid == 11 * 2
    line = anova.loc["C(b, Sum):C(p, Sum)"]
    assert (found.f, found.p) == pytest.approx((line["F"], line["PR(>F)"]))
    beyond = np.array([anova["sum_sq"][n] - anova["df"][n] * ols.mse_resid for n in anova.index[[0, 1, 3]]])
    assert (beyond > 0).all()
    np.testing.assert_allclose(found.shares, beyond / beyond.sum())
    # With coding by sums, a coefficient is the deviation of a level from the mean over levels.
    for factor, term in zip(found.factors, ("C(b, Sum)", "C(p, Sum)"), strict=True):
        names = [f"{term}[S.{level}]" for level in sorted(factor.levels)[:-1]]
        order = [factor.levels.index(level) for level in sorted(factor.levels)[:-1]]
        ours = factor.effects()[order]
        np.testing.assert_allclose(np.stack([ours.low, ours.high], 1), ols.conf_int().loc[names])
        apart = factor.differences(order[0])[order[1]]
        test = ols.t_test(f"{names[1]} - {names[0]} = 0")
        np.testing.assert_allclose([[apart.low, apart.high]], test.conf_int())


def test_what_is_not_separable_from_the_best_level() -> None:
    found = of(table(noise=0.1, interaction=0.0))
    base, sampler = found.factors
    assert base.levels == BASES
    assert base.gap() == pytest.approx(critical(3, 22) * math.sqrt(2 * found.variance / 3 / 4))
    assert sampler.gap() == pytest.approx(critical(4, 22) * math.sqrt(2 * found.variance / 3 / 3))
    assert base.not_separable(higher_is_better=True).tolist() == [False, True, False]
    assert base.not_separable(higher_is_better=False).tolist() == [False, False, True]
    assert base.differences(1).high[1] == 0
    first, second, both = found.shares
    assert first > second > 0.05 > both


def test_without_an_interaction_its_test_is_uniform() -> None:
    p = [of(table(seed, interaction=0.0)).p for seed in range(300)]
    assert np.mean(np.less(p, 0.1)) == pytest.approx(0.1, abs=0.052)  # three standard errors
    assert np.mean(p) == pytest.approx(0.5, abs=0.05)


def test_the_full_part_of_a_cross_is_taken_and_the_rest_named() -> None:
    whole = table()
    lost = whole.drop(("edm", "mode")).copy()
    lost.loc[("edm", "uniform")] = np.nan
    found = of(lost)
    assert found.left_out == (("edm",), ())
    without = of(whole.loc[["rf", "v/cos"]])
    assert found.variance == pytest.approx(without.variance)
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
