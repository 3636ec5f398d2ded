"""Figures name the formulations and values that they leave out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from analysis.runs.run import Run
from formulations import colours

from ..plotted import FEW, HAND, folder, hand, lines, one, table


def test_a_formulation_that_lacks_a_seed_is_left_out_and_named(half: Run) -> None:
    """Its mean would be over other seeds than those of the rest."""
    for name in ("plane", "steps", "levels", "budget", "curves"):
        figure = one(half, name)
        assert "Left out: " in figure.caption
        for lost, why in (("eps/linear", "diverged"), ("v/cos", "diverged"), ("rf", "failed")):
            assert not lines(figure.figure, lost), (name, lost)
            assert re.search(rf"{lost}(, [^()]*)? \({why}\)", figure.caption), (name, figure.caption)
        assert lines(figure.figure, "rf/mode(1.29)")


def test_the_ranking_shows_partly_lost_formulations_open(half: Run) -> None:
    figure = one(half, "ranks")
    faces = {n: lines(figure.figure, n)[0].get_markerfacecolor() for n in ("rf", "v/cos", "rf/mode(1.29)")}
    assert (faces["rf"], faces["v/cos"]) == ("none", "none")
    assert faces["rf/mode(1.29)"] == colours.colour("rf/mode(1.29)")
    assert not lines(figure.figure, "eps/linear")
    assert "Left out: eps/linear (diverged)." in figure.caption
    assert re.search(r"Open: [^.]*\((v/cos, rf|rf, v/cos)\)", figure.caption)


def test_what_is_not_finite_is_left_out(tmp_path: Path) -> None:
    about = hand(tmp_path / "t.csv")
    about.frame.loc[about.frame["formulation"] == "d", "fid"] = np.inf
    figure = one(about, "plane")
    assert not lines(figure.figure, "d")
    assert "Left out: d (not finite)." in figure.caption


def test_lost_on_one_dataset_only(tmp_path: Path) -> None:
    rows = [
        {"formulation": n, "fid": f, "clip": c, "dataset": d}
        for n, (f, c) in HAND.items()
        for d in ("x", "y")
    ]
    figure = one(
        table([r for r in rows if (r["formulation"], r["dataset"]) != ("b", "y")], tmp_path / "t.csv"),
        "plane",
    )
    assert len(lines(figure.figure, "b")) == 1
    assert "Left out: b (missing on y)." in figure.caption
    assert [axes.get_title() for axes in figure.figure.axes] == ["x", "y"]


def test_a_dataset_without_a_panel_is_named(tmp_path: Path) -> None:
    """x has the usual setting and several numbers of steps, y neither."""
    rows = [
        {"formulation": n, "fid": f, "clip": c, "dataset": d, "steps": s}
        for n, (f, c) in HAND.items()
        for d, s in (("x", 25), ("x", 10), ("y", 10))
    ]
    about = table(rows, tmp_path / "t.csv")
    plane, steps = (one(about, name).caption for name in ("plane", "steps"))
    assert "on x at EMA weights" in plane
    assert plane.endswith("Not shown: y, where no formulation has both at this setting in every seed.")
    assert steps.endswith("Not shown: y, where no formulation has these numbers in every seed.")


def test_a_dataset_without_logs_is_named(tmp_path: Path) -> None:
    about = folder(tmp_path, FEW[:2], datasets=("x", "y"), pictures=0)
    for _, cell in about.cells():
        if cell.dataset == "y":
            (about.path / "cells" / cell.id / "metrics.jsonl").unlink()
    for name in ("levels", "curves"):
        assert one(about, name).caption.endswith(
            "Not shown: y, where no formulation has a log of every seed."
        ), name


def test_datasets_may_have_different_seeds(tmp_path: Path) -> None:
    """While a grid is running; what holds for x must not be printed for y."""

    def status(name: str, dataset: str, seed: int) -> str | None:
        return "pending" if dataset == "y" and seed > 0 else None

    about = folder(tmp_path, FEW[:2], datasets=("x", "y"), seeds=3, pictures=0, status=status)
    assert "means over 3 seeds on x, 1 seed on y, bars" in one(about, "plane").caption


def test_samples_are_of_the_first_dataset_and_seed_with_pictures(tmp_path: Path) -> None:
    about = folder(tmp_path, FEW[:2], datasets=("x", "y"))
    for _, cell in about.cells():
        if (cell.dataset, cell.seed) != ("y", 1):
            for file in (about.path / "cells" / cell.id).glob("images-*/*"):
                file.unlink()
    assert one(about, "samples").caption.startswith("Samples on y, seed 1, EMA weights")


def test_cells_to_come_are_not_drawn(tmp_path: Path) -> None:
    """A seed that many have not finished takes no part, as in the ranking, nor does a formulation without any other."""

    def status(name: str, dataset: str, seed: int) -> str | None:
        return "pending" if (seed == 1 and name != "rf") or name == "v/cos" else None

    figure = one(folder(tmp_path, FEW[:5], status=status), "plane")
    assert "of 4 formulations" in figure.caption
    assert "seed 0 only" in figure.caption
    assert "Left out: v/cos (not finished)." in figure.caption
    assert len(lines(figure.figure, "rf")) == 1
