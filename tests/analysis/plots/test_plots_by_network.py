"""Curves of networks against steps, operations and seconds: from a run's folder and from its archive."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.lines import Line2D

from analysis import archive, plots
from analysis.plots import widths
from analysis.plots.style import Drawn
from analysis.runs import cell_contents, networks, run
from analysis.runs.run import Run

from ..plotted import FEW, folder, of_networks, ranked

MMDIT, DIT = "synthetic with mmdit", "synthetic with dit"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return of_networks(tmp_path_factory.mktemp("networks") / "run", seeds=3)


def figure(about: Run, **options: Any) -> Drawn:
    (drawn,), _ = plots.draw(about, ranked(about), ["networks"], **options)
    return drawn


def lines(drawn: Drawn) -> list[tuple[Line2D, Line2D]]:
    """Of each panel the lines of the MM-DiT and of the DiT."""
    return [tuple(panel.get_lines()) for panel in drawn.figure.axes]  # type: ignore[misc]


def logs(about: Run) -> pd.DataFrame:
    """The logarithm of each validation's loss ``[step, (dataset, seed)]``, the mean over formulations."""
    curves = cell_contents.curves(about)
    curves["val_loss"] = np.log(curves["val_loss"])
    return curves.pivot_table(index="step", columns=["dataset", "seed"], values="val_loss")


def test_lines_are_geometric_means_over_formulations_and_seeds(two: Run) -> None:
    drawn, wanted = figure(two), logs(two)
    assert [panel.get_xlabel() for panel in drawn.figure.axes] == [
        "training steps",
        "training compute, 1e15 FLOPs",
        "seconds of training",
    ]
    for panel in lines(drawn):
        for line, dataset in zip(panel, (MMDIT, DIT), strict=True):
            assert np.allclose(line.get_ydata(), np.exp(wanted[dataset].mean(axis=1)))
    bands = drawn.figure.axes[0].collections
    for band, dataset in zip(bands, (MMDIT, DIT), strict=True):
        box = band.get_paths()[0].get_extents()
        mean, sd = wanted[dataset].mean(axis=1), wanted[dataset].std(axis=1, ddof=1)
        assert np.allclose((box.y0, box.y1), np.exp(((mean - sd).min(), (mean + sd).max())))


def test_costs_are_those_of_the_plan_and_of_a_part_of_a_pack(two: Run) -> None:
    by_steps, by_compute, by_seconds = lines(figure(two))
    for place, recipe in enumerate(two.manifests[0].recipes):
        steps = np.asarray(by_steps[place].get_xdata())
        assert steps.max() == 10_000
        assert np.allclose(by_compute[place].get_xdata(), recipe.train_flops * steps / 10_000 / 1e15)
        assert np.allclose(by_seconds[place].get_xdata(), 6 * np.arange(1, 11))


def test_seconds_of_a_pack_are_divided_and_left_out_where_some_are_not_noted(tmp_path: Path) -> None:
    about = of_networks(tmp_path / "run")
    files = sorted(about.path.glob("cells/*/status.json"))
    for file in files:
        kept = json.loads(file.read_text())
        file.write_text(json.dumps(kept | {"training": kept["training"] | {"pack": 2}}))
    *_, by_seconds = lines(figure(about))
    assert np.allclose(by_seconds[0].get_xdata(), 3 * np.arange(1, 11))
    kept = json.loads(files[0].read_text())
    files[0].write_text(json.dumps({**kept, "training": {}}))
    drawn = figure(about)
    assert len(drawn.figure.axes) == 2
    assert "Seconds are not shown" in drawn.caption


def test_an_archive_has_the_same_figure(two: Run, tmp_path: Path) -> None:
    assert archive.main([str(two.path), str(tmp_path / "study"), "--no-figures"]) == 0
    kept = networks.separated(run.read(tmp_path / "study"))
    one, other = figure(two), figure(kept)
    assert one.caption == other.caption
    for line, same in zip(sum(lines(one), ()), sum(lines(other), ()), strict=True):
        assert np.allclose(line.get_xydata(), same.get_xydata())


def test_a_formulation_that_a_network_lost_is_in_no_mean(two: Run, tmp_path: Path) -> None:
    frame = two.frame.copy()
    frame.loc[(frame["formulation"] == FEW[1]) & (frame["dataset"] == DIT), "status"] = "diverged"
    drawn = figure(replace(two, frame=frame))
    curves = cell_contents.curves(two)
    own = curves[(curves["formulation"] == FEW[0]) & (curves["dataset"] == MMDIT)]
    wanted = np.log(own["val_loss"]).groupby(own["step"]).mean()
    assert np.allclose(lines(drawn)[0][0].get_ydata(), np.exp(wanted))
    assert f"Left out: {FEW[1]} (diverged on {DIT})." in drawn.caption


def test_a_narrow_figure_has_its_panels_below_one_another(two: Run) -> None:
    wide, narrow = figure(two).figure, figure(two, width=widths.COLUMN).figure
    assert wide.get_figheight() < narrow.get_figheight()
    assert [bool(panel.get_ylabel()) for panel in wide.axes] == [True, False, False]
    assert all(panel.get_ylabel() for panel in narrow.axes)


def test_one_network_has_no_such_figure(two: Run, tmp_path: Path) -> None:
    about = folder(tmp_path / "one", FEW[:2])
    drawn, why = plots.draw(about, ranked(about))
    assert "networks" not in [one.name for one in drawn] + list(why)
    _, why = plots.draw(about, ranked(about), ["networks"])
    assert why == {"networks": "all trainings are of one network"}


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """With weights of milestones in two settings, one of them between validations."""
    weights = ("ema", "ema@0.25", "ema@0.5", "ema@1", "raw@0.5")
    where = tmp_path_factory.mktemp("milestones") / "run"
    return of_networks(where, seeds=3, weights=weights, settings=((25, 5.0), (5, 5.0)))


def test_weights_of_milestones_add_rows_of_their_metrics(marked: Run) -> None:
    drawn = figure(marked)
    found = lines(drawn)
    assert len(found) == 3 * 3
    assert [panel.get_ylabel().split(",")[0] for panel in drawn.figure.axes[::3]] == [
        "validation loss",
        "FID",
        "CLIP score",
    ]
    early = marked.frame[marked.frame["weights"].str.startswith("ema@")]
    for place, dataset in enumerate((MMDIT, DIT)):
        rows = early[early["dataset"] == dataset].groupby("best_step")
        by_steps, by_compute, by_seconds = (found[3 + i][place] for i in range(3))
        assert list(by_steps.get_xdata()) == [2500, 5000, 10_000]  # type: ignore[arg-type]
        flops = marked.manifests[0].recipes[place].train_flops
        assert np.allclose(by_compute.get_xdata(), flops * np.array([0.25, 0.5, 1]) / 1e15)
        assert np.allclose(by_seconds.get_xdata(), [15, 30, 60])
        for line in (by_steps, by_compute, by_seconds):
            assert np.allclose(line.get_ydata(), np.exp(rows["fid"].agg(lambda v: np.log(v).mean())))
        assert np.allclose(found[6][place].get_ydata(), rows["clip"].mean())
    assert "EMA weights at milestones of the training" in drawn.caption


def test_the_loss_is_drawn_as_without_milestones(marked: Run) -> None:
    plain = figure(networks.separated(run.read(marked.path, ["weights=ema"])))
    assert len(plain.figure.axes) == 3
    assert "milestones" not in plain.caption
    assert plain.title == "Validation loss by network"
    for panel, same in zip(lines(plain), lines(figure(marked)), strict=False):
        for line, other in zip(panel, same, strict=True):
            assert np.allclose(line.get_xydata(), other.get_xydata())


def test_a_metric_that_a_formulation_lacks_at_a_milestone_is_not_averaged_over_the_others(
    marked: Run,
) -> None:
    frame = marked.frame.copy()
    one = (frame["formulation"] == FEW[0]) & (frame["dataset"] == DIT) & (frame["seed"] == 1)
    frame.loc[one & (frame["weights"] == "ema@0.5") & (frame["steps"] == 5), "fid"] = np.nan
    found = lines(figure(replace(marked, frame=frame)))
    assert [len(line.get_xdata()) for line in found[3]] == [3, 2]  # type: ignore[arg-type]
    assert [len(line.get_xdata()) for line in found[6]] == [3, 3]  # type: ignore[arg-type]


def test_a_network_is_not_drawn_with_fewer_seeds_than_are_ranked(marked: Run) -> None:
    frame = marked.frame.copy()
    one = (frame["dataset"] == DIT) & (frame["seed"] == 1) & frame["weights"].str.startswith("ema@")
    frame.loc[one, "fid"] = np.nan
    found = lines(figure(replace(marked, frame=frame)))
    assert [len(panel) for panel in found[3:6]] == [1] * 3
    assert [len(panel) for panel in found[6:]] == [2] * 3


def test_operations_are_counted_from_those_of_earlier_stages(marked: Run) -> None:
    (plan,) = marked.manifests
    recipes = tuple(replace(one, earlier_flops=one.train_flops / 4) for one in plan.recipes)
    found = lines(figure(replace(marked, manifests=(replace(plan, recipes=recipes),))))
    for place, recipe in enumerate(recipes):
        for row, steps in ((0, np.arange(1, 11) / 10), (3, np.array([0.25, 0.5, 1]))):
            of_all = 0.25 + 0.75 * steps
            assert np.allclose(found[row + 1][place].get_xdata(), recipe.train_flops * of_all / 1e15)
