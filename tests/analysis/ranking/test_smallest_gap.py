"""What a run can separate, worked by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from analysis.ranking.notes import resolution_line
from analysis.ranking.smallest_gap import Response, out_of_reach, resolution
from analysis.stats.best import critical, not_separable, seeds_needed
from analysis.stats.two_way import fit

THREE = {"shapes": 3}
NOISE = np.array(
    [[1.0, -1.0, 0.0], [0.0, 1.0, -1.0], [-1.0, 0.0, 1.0]]
)  # v = 6 / 4, equal in all formulations


def test_worked_by_hand() -> None:
    y = np.array([[10.0], [13.0], [12.4]]) + NOISE + np.array([4.0, 0.0, -4.0])
    model = fit(y, ["a", "b", "c"], [0, 1, 2])
    found = resolution(model, Response("clip", False, True), THREE)
    assert (found.response, found.log, found.formulations, found.seeds, found.df) == ("clip", False, 3, 3, 4)
    assert found.sigma == pytest.approx(math.sqrt(1.5))
    # Seeds differ by the variance 16, and 1.5 / 3 of it is noise.
    assert found.correlation == pytest.approx(15.5 / 17)
    assert found.gap == pytest.approx(critical(3, 4) * math.sqrt(2 * 1.5 / 3))
    assert found.lead == pytest.approx(0.6)
    # d(3, 62) = 1.95, and 1.95 sqrt(2 * 1.5 / 32) = 0.597 <= 0.6.
    assert found.seeds_needed == seeds_needed(0.6, 1.5, 3) == 32
    turned = resolution(model, Response("fid", True, False), THREE)
    assert turned.lead == pytest.approx(2.4)
    assert turned.log


def test_large_ratios_are_written_without_an_exponent() -> None:
    model = fit(np.array([[0.0], [3.0]]) + 0.01 * NOISE[:2], ["a", "b"], [0, 1, 2])
    found = resolution(model, Response("val_loss", True, False), THREE)
    assert "; runner-up 1,900 % behind: separated" in resolution_line(found, "FID")


def test_a_lead_far_below_the_noise_may_be_none() -> None:
    assert out_of_reach(10 * 3, 3, "the two") is None
    assert out_of_reach(10 * 3 + 1, 3, "the two") == "the two may be equal, as about 31 seeds would be needed"
    model = fit(np.array([[0.001], [0.0]]) + NOISE[:2], ["a", "b"], [0, 1, 2])
    found = replace(resolution(model, Response("clip", False, True), THREE), lead=0.1, draw=None)
    for needed, many in ((598, "about 598"), (None, "more than 1,000")):
        line = resolution_line(replace(found, seeds_needed=needed), "CLIP")
        assert line.endswith(f" behind: the two may be equal, as {many} seeds would be needed")


@pytest.mark.parametrize(
    ("lead", "ending"),
    [
        (4.0, "behind: 4 seeds would separate it"),
        (6.0, "behind: not separated, as these two are noisier than most"),
    ],
)
def test_a_lead_of_two_noisy_formulations_is_not_called_separated(lead: float, ending: str) -> None:
    y = 0.1 * np.random.default_rng(0).normal(size=(12, 3))
    y[:2] = [[lead + 4.0, lead - 4.0, lead], [0.0, 4.0, -4.0]]
    y[2:] -= 50.0
    model = fit(y, [""] * 12, [0, 1, 2])
    found = resolution(model, Response("clip", False, True), THREE)
    assert found.lead == pytest.approx(lead)
    assert found.seeds_needed is not None
    assert found.seeds_needed <= 3  # at the pooled noise
    assert not_separable(model, True)[1]
    assert not found.separated
    assert resolution_line(found, "FID").endswith(ending)


def test_a_lead_of_the_gap_needs_the_seeds_that_there_are() -> None:
    gap = critical(3, 4) * math.sqrt(2 * 1.5 / 3)
    for lead, needed in ((1.001 * gap, 3), (0.999 * gap, 4), (0.0, None)):
        model = fit(np.array([[0.0], [-lead], [-9.0]]) + NOISE, ["a", "b", "c"], [0, 1, 2])
        assert resolution(model, Response("clip", False, True), THREE).seeds_needed == needed
