"""Losses by noise level and by step, and where training is spent."""

from __future__ import annotations

import numpy as np

from analysis.plots.style import Drawn
from analysis.plots.subject import Subject
from analysis.runs import cell_contents
from analysis.runs.run import Run
from formulations import colours

from ..plotted import FEW, ranked, with_frame


def _rgb(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def test_levels_are_relative_to_the_best_there(few: Run, drawn: dict[str, Drawn]) -> None:
    curves = cell_contents.curves(few)
    last = (
        curves[curves["step"] == curves["step"].max()]
        .groupby("formulation")[[f"level_{i}" for i in range(8)]]
        .mean()
    )
    (panel,) = drawn["levels"].figure.axes
    for name in FEW:
        (line,) = (line for line in panel.get_lines() if line.get_label() == name)
        assert np.allclose(line.get_xdata(), (np.arange(8) + 0.5) / 8)
        assert np.allclose(line.get_ydata(), last.loc[name] / last.min())
    assert panel.get_yscale() == "log"


def test_levels_are_those_of_the_evaluated_checkpoint(few: Run) -> None:
    frame = few.frame.copy()
    frame["best_step"] = 4000
    early = Subject(with_frame(few, frame), ranked(few))
    curves = cell_contents.curves(few)
    wanted = curves[curves["step"] == 4000].groupby("formulation")["level_0"].mean()
    from analysis.plots.training import losses

    found = losses(early, "synthetic")
    assert not found.lost
    assert np.allclose(found.table.iloc[:, 0], wanted[found.table.index])


def test_budget_and_error(few: Run, drawn: dict[str, Drawn]) -> None:
    left, right = drawn["budget"].figure.axes
    profile = cell_contents.profiles(few)["rf"]
    (budget,) = (line for line in left.get_lines() if line.get_label() == "rf")
    assert np.array_equal(budget.get_ydata(), profile.budget)
    assert np.array_equal(budget.get_xdata(), profile.clock)
    errors = np.array([line.get_ydata() for line in right.get_lines() if line.get_label() in FEW])
    assert np.allclose(np.log(errors).mean(axis=0), 0)  # relative to the geometric mean of all


def test_curves_are_means_over_seeds(few: Run, drawn: dict[str, Drawn]) -> None:
    curves = cell_contents.curves(few)
    (panel,) = drawn["curves"].figure.axes
    for name in FEW:
        groups = curves[curves["formulation"] == name].groupby("step")["val_loss"]
        (line,) = (line for line in panel.get_lines() if line.get_label() == name)
        assert np.allclose(line.get_ydata(), groups.mean())
    (band,) = (
        c for c in panel.collections if np.allclose(c.get_facecolor()[0][:3], _rgb(colours.colour(FEW[-1])))
    )
    heights = band.get_paths()[0].get_extents()
    groups = curves[curves["formulation"] == FEW[-1]].groupby("step")["val_loss"]
    assert np.isclose(heights.y1, (groups.mean() + groups.std(ddof=1)).max())
    assert np.isclose(heights.y0, (groups.mean() - groups.std(ddof=1)).min())
