"""The ranking as a picture, and ranks over the parameters of a family."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import QuadMesh
from scipy.stats import rankdata

from analysis import plots
from analysis.plots import heat
from analysis.plots.style import Drawn
from analysis.ranking.result import RankingResult
from analysis.runs.run import Run

from ..plotted import folder, hand, lines, one, ranked, with_frame


def with_ranks(found: RankingResult, **fields: Any) -> RankingResult:
    """A ranking with other numbers or marks in its first column."""
    column = replace(found.columns["rank_all"], **fields)
    return replace(found, columns={**found.columns, "rank_all": column})


def test_ranks_show_the_columns_of_the_ranking(few: Run, drawn: dict[str, Drawn]) -> None:
    ranking, (left, right) = ranked(few).frame(), drawn["ranks"].figure.axes
    assert [t.get_text() for t in left.get_yticklabels()] == list(ranking["formulation"])
    bars = {(*b.get_xdata(), b.get_ydata()[0]) for b in left.get_lines() if b.get_linewidth() > 1.2}
    wanted = zip(ranking["position_low"], ranking["position_high"], range(len(ranking)), strict=True)
    assert bars == {(low, high, y) for low, high, y in wanted if high > low}
    wanted_positions = dict(zip(ranking["formulation"], rankdata(ranking["rank_all"]), strict=True))
    for y, row in ranking.iterrows():
        (dot,) = (line for line in left.get_lines() if line.get_label() == row["formulation"])
        assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (wanted_positions[row["formulation"]], y)
    assert np.allclose([patch.get_width() for patch in right.patches], 100 * ranking["front_one"])
    assert left.get_ylim()[0] > left.get_ylim()[1]  # best on top


def test_one_seed_has_no_order_to_draw(tmp_path: Path) -> None:
    about = hand(tmp_path / "t.csv")
    drawn, why = plots.draw(about, ranked(about), ["ranks"])
    assert drawn == []
    assert why == {"ranks": "there is no order to show, as nothing shows how much a seed matters (one seed)"}


@pytest.mark.parametrize(
    ("kept", "seeds"), [({0, 1}, "2 to 3 seeds"), ({0}, "(one seed of digits)"), ({5, 6, 7}, "3 seeds")]
)
def test_the_number_of_seeds_is_that_of_each_dataset(kept: set[int], seeds: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"datasets": ("shapes", "digits"), "settings": ((25, 5.0), (5, 5.0))}
    names = (
        "rf",
        "rf/lognorm(0.00,1.00)",
        "rf/lognorm(0.50,1.00)",
        "rf/lognorm(0.00,0.60)",
        "rf/lognorm(0.50,0.60)",
    )
    about = folder(tmp_path, names, seeds=8, pictures=0, **options)
    frame = about.frame
    of_digits = frame["dataset"] == "digits"
    chosen = (of_digits & frame["seed"].isin(kept)) | (~of_digits & (frame["seed"] < 3))
    about = with_frame(about, frame[chosen])
    drawn, why = plots.draw(about, ranked(about), ["ranks", "heat"])
    captions = {figure.name: figure.caption for figure in drawn} | why
    assert seeds in captions["ranks"]
    assert {0: "1 to 3 seeds"}.get(max(kept), seeds) in captions["heat"]


def test_no_order_is_drawn_where_nothing_is_separated(few: Run) -> None:
    found = ranked(few)
    level = with_ranks(found, tied=pd.Series(True, index=list(found.names), dtype="boolean"))
    drawn, why = plots.draw(few, level, ["ranks"])
    assert drawn == []
    assert why == {"ranks": "3 seeds separate no two of the formulations, so that there is no order to show"}


def test_equal_mean_fronts_share_a_position(few: Run) -> None:
    found = ranked(few)
    value, names = found.value("rank_all").copy(), list(found.names)
    value.iloc[3:5] = 3.5
    tied = pd.Series([True, *[False] * (len(names) - 1)], index=names, dtype="boolean")
    (figure,), _ = plots.draw(few, with_ranks(found, value=value, tied=tied), ["ranks"])
    places = [lines(figure.figure, name)[0].get_xdata()[0] for name in names[3:5]]
    assert places[0] == places[1] == 4.5


def test_heat_cells_are_the_numbers_of_the_ranking(study: Run, large: dict[str, Drawn]) -> None:
    ranks = ranked(study).value("rank_all")
    figure = large["heat"].figure
    for axes, family in zip(figure.axes, heat.FAMILIES, strict=False):
        firsts, seconds = (
            [t.get_text() for t in labels] for labels in (axes.get_yticklabels(), axes.get_xticklabels())
        )
        (mesh,) = (c for c in axes.collections if isinstance(c, QuadMesh))
        shown = np.asarray(mesh.get_array()).reshape(len(firsts), len(seconds))
        texts = iter(axes.texts)
        for i, first in enumerate(firsts):
            for j, second in enumerate(seconds):
                rank = ranks[f"{family}({float(first):.2f},{float(second):.2f})"]
                assert shown[i, j] == rank
                assert next(texts).get_text() == f"{rank:.2f}"
    assert [a.get_title() for a in figure.axes[:2]] == ["rf/lognorm", "edm"]
    assert len({tuple(c.get_clim()) for a in figure.axes[:2] for c in a.collections}) == 1  # one scale


@pytest.mark.parametrize(
    ("grid", "square"),
    [([[1, 2], [3, 4]], True), ([[1, 2], [3, np.nan]], False), ([[1, np.nan, 2], [0, 0, np.nan], [3, np.nan, 4]], True),
     ([[1, 2, 3]], False), ([[1, np.nan], [np.nan, 2]], False)],
)  # fmt: skip
def test_a_grid_needs_two_by_two(grid: list[list[float]], square: bool) -> None:
    assert heat.has_square(np.array(grid)) == square


def test_a_grid_with_holes(tmp_path: Path) -> None:
    """Cells that are not there are empty; a formulation that always diverged has none, though a rank, and is named."""
    names = ("rf/lognorm(0.00,1.00)", "rf/lognorm(1.00,1.00)", "rf/lognorm(0.00,0.50)", "rf/lognorm(1.00,0.50)",
             "rf/lognorm(2.00,0.50)", "rf/lognorm(2.00,1.00)", "rf/lognorm(3.00,1.00)")  # fmt: skip
    about = folder(tmp_path, names, pictures=0, status=lambda n, d, s: "diverged" if n == names[5] else None)
    figure = one(about, "heat")
    assert [t.get_text() for t in figure.figure.axes[0].texts].count("–") == 2
    assert "of 6 formulations" in figure.caption
    assert "Left out: rf/lognorm(2.00,1.00) (diverged)." in figure.caption
