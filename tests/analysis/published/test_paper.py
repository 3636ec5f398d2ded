"""The paper's tables: checked against one another, against the catalogue, and kept from drifting."""

from __future__ import annotations

import hashlib
from fractions import Fraction

import pandas as pd
import pytest

import formulations
from analysis.published import paper_tables
from flowbench._core.errors import UserError
from formulations.catalogue import PAPER, PUBLISHED

DIGESTS: dict[paper_tables.Number, str] = {
    1: "ac91b03e960c02f2",
    2: "90e903fde83c680f",
    3: "337c6bfbe527ebf7",
    5: "c0bac160f3721f76",
    6: "4683f2597f115074",
}


@pytest.mark.parametrize("number", DIGESTS)
def test_the_files_are_as_they_were_checked(number: paper_tables.Number) -> None:
    digest = hashlib.sha256((paper_tables.FOLDER / f"table{number}.csv").read_bytes()).hexdigest()
    assert digest[:16] == DIGESTS[number]


def test_rank_sums_over_24_settings_give_the_printed_averages() -> None:
    """Each printed average is the one fraction of 24 that rounds to it, so the sums are known exactly."""
    table = paper_tables.table(1)
    assert len(table) == 16
    for printed, total in zip(table["rank_all"], table["rank_sum_24"], strict=True):
        near = [
            n
            for n in range(24, 24 * 61 + 1)
            if abs(Fraction(n, 24) - Fraction(str(printed))) <= Fraction(1, 200)
        ]
        assert near == [total]


@pytest.mark.parametrize("column", ["rank_5", "rank_50"])
def test_the_columns_by_steps_average_four_settings(column: str) -> None:
    """Multiples of 1/4, all of them: 12 settings with 50 steps would leave twelfths."""
    assert (paper_tables.table(1)[column] * 4 % 1 == 0).all()


def test_names_are_canonical_and_those_of_the_study() -> None:
    for number in (1, 2):
        for name in paper_tables.table(number)["formulation"]:  # type: ignore[arg-type]
            assert formulations.get(name).name == name
            assert name in PAPER
    names = dict.fromkeys([*paper_tables.table(1)["formulation"], *paper_tables.table(2)["formulation"]])
    assert tuple(names) == PUBLISHED
    assert len(PAPER) == paper_tables.FORMULATIONS


def test_published_is_the_first_table_best_first() -> None:
    ranks = paper_tables.published()
    assert ranks.is_monotonic_increasing
    assert (ranks["rf/lognorm(0.00,1.00)"], ranks["eps/linear"]) == (1.54, 2.88)


def test_table_2_has_every_formulation_on_both_datasets() -> None:
    counts = paper_tables.table(2).groupby("formulation")["dataset"].agg(set)
    assert (counts == {"imagenet", "cc12m"}).all()


def test_table_3_more_channels_reconstruct_better() -> None:
    table = paper_tables.table(3)
    assert list(table["channels"]) == [4, 8, 16]
    for column, up in (("rfid", False), ("perceptual_similarity", False), ("ssim", True), ("psnr", True)):
        assert table[column].is_monotonic_increasing if up else table[column].is_monotonic_decreasing


def test_table_5_overall_is_the_mean_of_the_six_tasks() -> None:
    """GenEval's overall score is that mean: a row with a wrong number would miss it by more than rounding."""
    table = paper_tables.table(5)
    tasks = table[["single_object", "two_objects", "counting", "colours", "position", "colour_attribution"]]
    assert ((tasks.mean(axis=1) - table["overall"]).abs() <= 0.011).all()


def test_table_6_deeper_models_lose_less_with_few_steps() -> None:
    table = paper_tables.table(6)
    assert list(table["depth"]) == [15, 30, 38]
    assert table["clip_drop_5"].is_monotonic_decreasing
    assert table["path_length"].is_monotonic_decreasing
    assert (table["clip_drop_5"] > table["clip_drop_10"]).all()
    assert (table["clip_drop_10"] > table["clip_drop_20"]).all()


def test_every_row_has_a_source() -> None:
    for number in DIGESTS:
        assert (
            paper_tables.table(number)["source"]
            .str.contains(f"arXiv:2403.03206v1 Table {number}", regex=False)
            .all()
        )


def test_a_caller_cannot_change_the_tables() -> None:
    mine = paper_tables.table(1)
    mine["rank_all"] = 0.0
    assert (paper_tables.table(1)["rank_all"] > 1).all()
    pd.testing.assert_frame_equal(paper_tables.table(1), paper_tables.table(1))


def test_a_table_that_is_not_kept_is_one_sentence() -> None:
    with pytest.raises(UserError, match="table 4 of the paper is not kept; known: 1, 2, 3, 5, 6"):
        paper_tables.table(4)  # type: ignore[arg-type]
