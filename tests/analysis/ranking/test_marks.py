"""What is bold and what is marked: by the whole ranking, and only where formulations are separated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import rank
from analysis.published import families
from analysis.ranking.render import ranking_table
from analysis.ranking.result import RankingResult
from analysis.report import page_table
from analysis.tables import output

from .. import rankings

METRICS = ("clip", "fid", "kid", "val_loss", "composition")
HEADINGS = ("CLIP", "FID", "KID", "val loss", "composition")
NAMES = ("rf", "v/cos", "eps/linear", "edm")


def measured(seeds: int = 3, noise: float = 0.01) -> pd.DataFrame:
    """``rf`` is best by FID, its fronts too; each other metric has its own best further down the ranking."""
    rng = np.random.default_rng(1)
    best = {"rf": "fid", "v/cos": "clip", "eps/linear": "val_loss", "edm": "kid"}
    rows = []
    for place, name in enumerate(NAMES):
        for seed in range(seeds):
            values = {"clip": 30.0 - place, "fid": 10.0 * 1.5**place, "kid": 0.1 + 0.02 * place}
            values |= {"val_loss": 0.5 + 0.1 * place, "composition": 0.5 - 0.05 * place}
            better = {"clip": 40.0, "fid": 5.0, "kid": 0.01, "val_loss": 0.1}
            values[best[name]] = better[best[name]]
            noisy = {m: v * np.exp(noise * rng.normal()) for m, v in values.items()}
            for steps in (5, 50):
                rows.append({"formulation": name, "seed": seed, "steps": steps, **noisy})
    return pd.DataFrame(rows).assign(dataset="shapes", weights="ema", cfg=5.0)


def test_a_number_and_its_margin_stand_apart_until_they_are_written() -> None:
    ranked = rankings.rank(measured())
    made = ranking_table(ranked)
    heading = dict(zip(made.keys, made.cells.columns, strict=True))["val_loss"]
    page = page_table.table(ranked)
    place = [column.key for column in page.columns].index("val_loss")
    for i, row in ranked.frame().iterrows():
        number, margin = made.cells[heading][i], made.margins[heading][i]
        assert float(number) == pytest.approx(row["val_loss"], rel=1e-3)
        assert float(margin) == pytest.approx((row["val_loss_high"] - row["val_loss_low"]) / 2, rel=0.05)
        assert (page.rows[i].entries[place].number, page.rows[i].entries[place].margin) == (number, margin)
        for kind in ("table", "md", "latex"):
            assert f"{number} ±{margin}" in output.write([made], kind)


@pytest.mark.parametrize(("noise", "ends"), [(0.01, False), (0.6, True)])
def test_an_interval_that_is_far_from_symmetric_shows_both_ends(noise: float, ends: bool) -> None:
    """A distance of 12 between 2 and 64 is no 12 ±31."""
    ranked = rankings.rank(measured(noise=noise))
    made = ranking_table(ranked)
    row = ranked.frame().iloc[0]
    number = made.cells["FID"][0]
    whole = f"[{row['fid_low']:.2f}, {row['fid_high']:.2f}]"
    text, page = made.texts()["FID"][0], page_table.table(ranked)
    place = [column.key for column in page.columns].index("fid")
    assert (page.rows[0].entries[place].margin == whole) == ends
    assert (text == f"{number} {whole}") == ends
    assert ("±" in text) != ends
    assert any(line.startswith("[a, b]: ") for line in made.notes) == ends


def bold(table: RankingResult, shown: list[str] | None = None) -> dict[str, set[str]]:
    """The formulations that are bold, by heading."""
    made = ranking_table(table, shown)
    names = made.frame["formulation"]
    return {str(c): set(names[made.best[c].to_numpy()]) for c in made.best if made.best[c].any()}


def test_one_seed_that_is_far_off_separates_nothing() -> None:
    """Its formulation has the smallest FID in the other two seeds."""
    table = measured()
    table.loc[(table["formulation"] == "rf") & (table["seed"] == 2), "fid"] = 3000.0
    ranked = rankings.rank(table).frame().set_index("formulation")
    assert ranked.loc["rf", "fid"] > 20 * ranked.loc["edm", "fid"]
    assert ranked.loc["rf", "fid_tied"]
    assert "FID" not in bold(rankings.rank(table))


def test_each_column_has_its_own_best() -> None:
    found = bold(rankings.rank(measured()))
    assert found["CLIP"] == {"v/cos"}
    assert found["FID"] == {"rf"}
    assert found["val loss"] == {"eps/linear"}


@pytest.mark.parametrize("top", [1, 2, 3, 4])
def test_trimming_changes_no_mark(top: int) -> None:
    whole = rankings.rank(measured())
    shown = list(whole.names[:top])
    every, some = ranking_table(whole), ranking_table(whole, shown)
    assert list(some.cells["formulation"]) == shown
    for marks in ("best", "tied", "lacking"):
        pd.testing.assert_frame_equal(getattr(some, marks), getattr(every, marks).iloc[:top])
    pd.testing.assert_frame_equal(some.cells, every.cells.iloc[:top])
    assert bold(whole, shown).get("val loss", set()) == ({"eps/linear"} & set(shown))
    note = f"{top} of 4 ranked formulations; marks are those of the whole ranking"
    assert (note in some.notes) == (top < 4)


@pytest.mark.parametrize("format", ["table", "md", "latex"])
def test_the_command_bolds_nothing_that_a_trimmed_row_betters(
    format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured().to_csv(tmp_path / "a.csv", index=False)
    assert rank.main([str(tmp_path / "a.csv"), "--top", "2", "--format", format]) == 0
    out = capsys.readouterr().out
    bolds = {"md": out.count("**") / 2, "latex": out.count("textbf"), "table": 0}
    whole = rankings.rank(measured())
    two = bold(whole, list(whole.names[:2]))
    assert bolds[format] == (0 if format == "table" else sum(map(len, two.values())))
    assert "val loss" not in two


def test_families_leave_the_marks_of_the_whole_ranking(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = measured()
    members = {"rf": "edm(0,1)", "v/cos": "edm(0,2)", "eps/linear": "edm(0,3)", "edm": "rf"}
    frame["formulation"] = frame["formulation"].map(members)
    whole = rankings.rank(frame)
    shown = families.best_of_each(whole)
    assert "edm(0,3)" not in shown, "the best by validation loss is not shown"
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert rank.main([str(tmp_path / "a.csv"), "--families", "--format", "md"]) == 0
    lines = capsys.readouterr().out.splitlines()
    heading = [cell.strip() for cell in lines[0].split("|")].index("val loss")
    assert not any("**" in line.split("|")[heading] for line in lines[2:5])


@pytest.mark.parametrize(("metric", "heading"), list(zip(METRICS, HEADINGS, strict=True)))
@pytest.mark.parametrize("gone", ["value", "row", "diverged", "seed"])
def test_a_mean_over_less_is_never_best_and_is_marked(metric: str, heading: str, gone: str) -> None:
    frame = measured().assign(status="done")
    best = frame.groupby("formulation")[metric].mean()
    leader = best.idxmax() if metric in ("clip", "composition") else best.idxmin()
    here = (frame["formulation"] == leader) & (frame["seed"] == 2)
    if gone == "value":
        frame.loc[here, metric] = np.nan
    elif gone == "diverged":
        frame.loc[here, "status"] = "diverged"
    else:
        frame = frame[~here if gone == "seed" else ~(here & (frame["steps"] == 5))]
    table = rankings.rank(frame)
    made = ranking_table(table)
    row = table.names.index(leader)
    if gone == "row" and metric == "val_loss":  # the training has its loss all the same
        assert not made.lacking[heading].any()
        return
    assert made.lacking[heading].tolist() == [i == row for i in range(4)]
    assert leader not in bold(table).get(heading, set())
    assert any(note.startswith("* ") for note in made.notes)


def test_a_value_that_no_formulation_has_is_lacking_nowhere() -> None:
    frame = measured()
    frame.loc[frame["seed"] == 2, "kid"] = np.nan
    assert not ranking_table(rankings.rank(frame)).lacking.any(axis=None)


def test_one_seed_bolds_nothing() -> None:
    made = ranking_table(rankings.rank(measured(seeds=1)))
    assert not made.best.any(axis=None)
    assert not made.tied.any(axis=None)


def test_a_tie_of_all_bolds_nothing_and_marks_all() -> None:
    frame = measured()
    rng = np.random.default_rng(0)
    frame["fid"] = 10 * np.exp(0.3 * rng.normal(size=len(frame)))
    frame["clip"] = 30 + rng.normal(size=len(frame))
    table = rankings.rank(frame)
    assert table.columns["clip"].not_separable.all()
    made = ranking_table(table)
    assert not made.best["CLIP"].any()
    assert made.tied["CLIP"].all()


def test_columns_without_a_comparison_bold_nothing() -> None:
    found = bold(rankings.rank(measured(), by="steps"))
    assert found.keys() <= {"rank all", "CLIP", "FID", "val loss"}
