"""The sentences at the top of a report, for rankings made by hand: what they claim, and what they must not claim."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.ranking.smallest_gap import Resolution
from analysis.report import findings
from analysis.report.phrases import BEGIN, END, listed, rounded, sizes, written

from ..rankings import SIX, lead, plain, provisional, rank, ranking, resolution

AGAIN = (
    "Of the true orders that these seeds allow, rf/lognorm(0.00,1.00) comes first in 71 %; its place is between 1 and 3 "
    "(95 %)."
)


def test_a_few_that_are_tied_with_the_leader_are_named() -> None:
    assert lead(ranking()) == [
        "rf/lognorm(0.00,1.00) leads with mean front 1.28; eps/linear, edm(-1.20,1.20) and rf/mode(1.29) cannot be "
        "separated from it at 3 seeds (Hsu, family-wise 95 %).",
        AGAIN,
    ]


def test_of_many_the_first_is_named() -> None:
    assert lead(ranking(tied=(True, True, True, True, True, False)))[0] == (
        "rf/lognorm(0.00,1.00) leads with mean front 1.28; eps/linear and 3 others cannot be separated from it at 3 seeds "
        "(Hsu, family-wise 95 %)."
    )


def test_all_are_tied_with_the_leader() -> None:
    assert lead(ranking(tied=(True,) * 6))[0] == (
        "rf/lognorm(0.00,1.00) leads with mean front 1.28; none of the 5 others can be separated from it at 3 seeds "
        "(Hsu, family-wise 95 %)."
    )


def test_a_tied_formulation_behind_separated_ones_is_explained() -> None:
    sentence = (
        "rf/mode(1.29) cannot be separated from the best although formulations that rank better can: its results differ "
        "more from seed to seed."
    )
    assert sentence in plain(
        findings.verdict(ranking(tied=(True, True, False, True, False, False)), {}).doubts
    )
    assert not any("although" in text for text in plain(findings.verdict(ranking(), {}).doubts))


def test_a_leader_apart_from_all_others() -> None:
    assert lead(ranking(tied=(True, *(False,) * 5)))[0] == (
        "rf/lognorm(0.00,1.00) leads with mean front 1.28, and 3 seeds separate it from all 5 others "
        "(Hsu, family-wise 95 %)."
    )
    two = ranking(SIX[:2], (1.0, 2.0), (True, False))
    assert lead(two)[0] == (
        "rf/lognorm(0.00,1.00) leads with mean front 1.00, and 3 seeds separate it from the other "
        "(Hsu, family-wise 95 %)."
    )


def test_equal_fronts_share_the_lead() -> None:
    found = lead(ranking(ranks=(1.5, 1.5, 2.0, 2.5, 3.0, 3.5), tied=(True, True, True, *(False,) * 3)))[0]
    assert found == (
        "rf/lognorm(0.00,1.00) and eps/linear share the lead with mean front 1.50; edm(-1.20,1.20) cannot be separated "
        "from them at 3 seeds (Hsu, family-wise 95 %)."
    )


def test_leaders_look_better_than_they_are() -> None:
    again = "The same command with --confirm 3 trains those that cannot be separated from the best again, on fresh seeds."
    assert f"The leader of 6 formulations looks better than it is. {again}" in plain(
        findings.verdict(ranking(), {}).doubts
    )
    shared = ranking(ranks=(1.5, 1.5, 2.0, 2.5, 3.0, 3.5), tied=(True, True, *(False,) * 4))
    assert f"The leaders of 6 formulations look better than they are. {again}" in plain(
        findings.verdict(shared, {}).doubts
    )
    level = ranking(SIX[:2], (1.5, 1.5), (True, True))
    assert not any("better than" in text for text in plain(findings.verdict(level, {}).doubts))


def test_a_first_place_that_is_sure_and_undecided_is_explained() -> None:
    found = ranking()
    ends = (pd.Series(1.0, index=found.counts.index) for _ in range(2))
    place = replace(found.columns["position"], **dict(zip(("low", "high"), ends, strict=True)))
    sure = replace(found, columns={**found.columns, "position": place})
    assert lead(sure)[1].endswith(
        "its place is 1 (95 %), if their noise is as measured; Hsu's comparison allows for more, and leaves it undecided."
    )
    alone = ranking(tied=(True, *(False,) * 5))
    assert lead(replace(alone, columns={**alone.columns, "position": place}))[1].endswith(
        "its place is 1 (95 %)."
    )


def test_a_formulation_that_lacks_entries_is_not_counted_as_separated() -> None:
    found = ranking(tied=(True, False, False, False, False, None), diverged=6, without_interval=("v/cos",))
    made = findings.verdict(found, {})
    assert "all 4 others" in plain(made.lead)[0]
    assert plain(made.doubts)[0] == (
        "v/cos lacks entries (6 diverged): what is lost ranks last in its setting, and means are over the rest."
    )
    assert plain(made.doubts)[1] == "No interval for v/cos: not every entry of every seed is there."


def test_nothing_is_known_without_two_complete_seeds() -> None:
    assert lead(ranking(tied=(None,) * 6)) == [
        "rf/lognorm(0.00,1.00) leads with mean front 1.28. How sure that is remains unknown: no two formulations have every "
        "entry of two seeds."
    ]


def test_seeds_without_noise_are_no_judges() -> None:
    found = ranking(tied=(None,) * 6, resolution=(resolution("rank", 1.0, 0.0, 2),))
    assert lead(found)[0] == (
        "rf/lognorm(0.00,1.00) leads with mean front 1.28, in every seed alike: there is no noise to judge that by."
    )


def test_one_formulation_has_nothing_to_be_compared_with() -> None:
    assert lead(ranking(["rf"], (1.0,), (True,))) == ["Only rf is here: there is nothing to compare it with."]


def test_one_seed_shows_nothing_of_other_seeds() -> None:
    behind = {
        "clip": ([np.nan, -6, -9, -3, -2, -9], [np.nan, -3, -6, -1, 1, -2]),
        "fid": ([np.nan, 1, 1, -1, -1, 1], [np.nan, 4, 4, 4, 4, 4]),
    }
    found = ranking(seeds=1, behind=behind)
    made = findings.verdict(found, {})
    assert plain(made.lead) == [
        "rf/lognorm(0.00,1.00) leads with mean front 1.28, by one seed: whether another seed would keep that order "
        "is unknown."
    ]
    assert [p.partition(" by more")[0] for p in plain(made.points)] == [
        "In CLIP score 4 of 5 others are behind rf/lognorm(0.00,1.00)",
        "In FID 3 of 5 others are behind rf/lognorm(0.00,1.00)",
    ]
    assert "Hsu" not in str(made)
    assert "--confirm" not in str(made)


def points(tied: tuple[bool, ...], *found: Resolution, **best: tuple[str, str]) -> list[str]:
    pairs = {response: findings.Pair(*names) for response, names in best.items()}
    return plain(findings.verdict(ranking(tied=tied, resolution=found), pairs).points)


TWO_TIED = (True, True, False, False, False, False)


def test_a_lead_that_the_seeds_cannot_separate() -> None:
    found = points(TWO_TIED, resolution("clip", 4.43, 5.83, 6), clip=(SIX[0], SIX[1]))
    assert found == [
        "In CLIP score rf/lognorm(0.00,1.00) leads by 4.4 (48.33, eps/linear 43.90), less than the 5.8 that 3 seeds "
        "can separate: about 6 seeds would be needed."
    ]
    many = points(TWO_TIED, resolution("clip", 0.01, 5.83, None), clip=(SIX[0], SIX[1]))
    assert many[0].endswith(
        "less than the 5.8 that 3 seeds can separate: the two may be equal, as more than 1,000 seeds would "
        "be needed."
    )
    far = points(TWO_TIED, resolution("clip", 0.1, 5.83, 598), clip=(SIX[0], SIX[1]))
    assert far[0].endswith("can separate: the two may be equal, as about 598 seeds would be needed.")
    within = resolution("clip", 0.5, 5.83, None, draw=0.6)
    assert points(TWO_TIED, within, clip=(SIX[0], SIX[1]))[0].endswith(
        "that 3 seeds can separate: more samples, not more seeds, would be needed."
    )


def test_a_lead_that_the_seeds_separate_is_given_in_percent_where_logarithms_are_modelled() -> None:
    apart = (True, *(False,) * 5)
    found = points(apart, resolution("fid", math.log(1.3), math.log(1.22), 2, log=True), fid=(SIX[0], SIX[2]))
    assert found == [
        "In FID rf/lognorm(0.00,1.00) leads by 30 % (23.13, edm(-1.20,1.20) 25.50), more than the 22 % that 3 seeds "
        "can separate."
    ]


def test_noise_of_the_pair_decides_over_the_average() -> None:
    noisy = points(TWO_TIED, resolution("clip", 6.0, 5.8, 3), clip=(SIX[0], SIX[1]))
    assert noisy[0].endswith(
        "more than the 5.8 that 3 seeds can separate, yet not enough for these two, which are noisier than most."
    )


def test_a_lead_without_any_noise() -> None:
    found = points((True, *(False,) * 5), resolution("rank", 1.0, 0.0, 2), rank=(SIX[0], SIX[1]))
    assert found == [
        "In mean front rf/lognorm(0.00,1.00) leads by 1.0 (1.28, eps/linear 2.33), in every seed alike."
    ]


def test_another_may_lead_in_a_metric() -> None:
    found = points(TWO_TIED, resolution("clip", 1.0, 2.0, 9), clip=(SIX[1], SIX[2]))
    assert found[0].startswith("In CLIP score eps/linear leads by 1.0 (43.90, edm(-1.20,1.20) 40.72)")
    assert found[0].endswith("rf/lognorm(0.00,1.00) cannot be separated from the best here.")
    level = points(TWO_TIED, resolution("rank", 0.0, 2.0, None), rank=(SIX[1], SIX[0]))
    assert level == ["In mean front eps/linear and rf/lognorm(0.00,1.00) are level at 2.33."]


def test_seeds_that_are_needed_are_more_than_there_are() -> None:
    found = points(TWO_TIED, resolution("clip", 4.4, 5.8, 3), clip=(SIX[0], SIX[1]))
    assert found[0].endswith("about 4 seeds would be needed.")


def test_a_running_grid_begins_with_what_is_pending() -> None:
    made = findings.verdict(ranking(provisional=provisional(("v/cos",), (("shapes", 2),))), {})
    assert plain(made.missing) == [
        "Provisional: 12 of 18 cells are done.",
        "The ranking leaves out seed 2 on shapes, which not all formulations have finished.",
        "It leaves out v/cos, whose cells are still to come, so that none profits from its absence.",
    ]
    assert "--confirm" not in str(made)


def test_names_are_enclosed() -> None:
    assert (
        findings.verdict(ranking(["rf"], (1.0,), (True,)), {}).lead[0].startswith(f"Only {BEGIN}rf{END} is")
    )
    assert listed(["a", "b"]) == f"{BEGIN}a{END} and {BEGIN}b{END}"


def test_numbers_in_a_sentence_differ_where_they_differ() -> None:
    assert sizes(False, 6.91, 6.94) == ["6.91", "6.94"]
    assert sizes(False, 4.43, 5.83) == ["4.4", "5.8"]
    assert sizes(True, math.log(1.05), math.log(3.5)) == ["5.0 %", "250 %"]
    assert sizes(True, math.log(17.83), math.log(1.01)) == ["1,700 %", "1.0 %"]
    assert rounded(123_456.0) == "120,000"
    assert rounded(0.000123) == "0.00012"
    assert rounded(12.345, 3) == "12.3"
    assert rounded(0.0) == "0"
    assert written([19.91, 21.304], "fid") == ["19.91", "21.30"]
    assert written([0.32194, 0.3227], "val_loss") == ["0.3219", "0.3227"]
    assert written([0.32221, 0.32219], "val_loss") == ["0.32221", "0.32219"]
    assert written([1234.5, 2.0], "fid") == ["1234", "2"]


def test_best_and_second_are_those_of_the_printed_means() -> None:
    """Arithmetic means of FID are printed: 20 is less than the mean of 1 and 100, whose geometric mean is 10."""
    same = {"dataset": "d", "weights": "ema", "cfg": 1.0}
    rows = [
        same | {"formulation": name, "seed": seed, "steps": steps, "clip": clip, "fid": fid}
        for name, clip, fids in (("steady", 30.0, (20.0, 20.0)), ("wild", 31.0, (1.0, 100.0)))
        for seed in (0, 1)
        for steps, fid in zip((5, 50), fids, strict=True)
    ]
    frame = pd.DataFrame(rows)
    found = pairs_of(frame)
    assert found["fid"] == findings.Pair("steady", "wild")
    assert found["clip"] == findings.Pair("wild", "steady")
    assert "val_loss" not in found
    assert "clip" not in pairs_of(frame.drop(index=3))  # then only one formulation has all entries
    assert pairs_of(frame[(frame["seed"] == 0) | (frame["steps"] == 5)]) == {}  # seeds of other settings


def pairs_of(frame: pd.DataFrame) -> dict[str, findings.Pair]:
    return findings.pairs(rank(frame))


@pytest.mark.parametrize("seeds", [1, 3])
def test_one_objective_is_said(seeds: int) -> None:
    made = findings.verdict(ranking(seeds=seeds, objectives=("fid",)), {})
    assert "There are values of FID only: the ranking is by it alone." in made.doubts
