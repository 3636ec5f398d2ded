"""Figures show the numbers that they are said to show, the same look everywhere, and name who is left out."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.image import AxesImage
from PIL import Image

from analysis import cells, plots
from analysis.pareto import fronts
from analysis.plots import colours, heat, style, subject
from analysis.plots.plane import front_lines
from analysis.plots.steps import ladder
from analysis.plots.style import Drawn
from analysis.plots.subject import Setting, Subject
from analysis.run import Run
from samplers.errors import UserError

from .plotted import FEW, STUDY, folder, lines, ranked, table, with_frame, written


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return folder(tmp_path_factory.mktemp("few"), seeds=3)


@pytest.fixture(scope="module")
def drawn(few: Run) -> dict[str, Drawn]:
    return {figure.name: figure for figure in plots.draw(few, ranked(few))[0]}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return folder(tmp_path_factory.mktemp("study"), STUDY, settings=((25, 5.0), (5, 5.0)))


@pytest.fixture(scope="module")
def large(study: Run) -> dict[str, Drawn]:
    return {figure.name: figure for figure in plots.draw(study, ranked(study))[0]}


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """eps/linear always diverges, v/cos in its second seed, rf fails in its first; edm has not been trained at all."""

    def status(name: str, dataset: str, seed: int) -> str | None:
        lost = {("eps/linear", 0), ("eps/linear", 1), ("v/cos", 1)}
        return "diverged" if (name, seed) in lost else "failed" if (name, seed) == ("rf", 0) else None

    return folder(tmp_path_factory.mktemp("half"), FEW[:5], status=status)


def one(about: Run, name: str) -> Drawn:
    (figure,), why = plots.draw(about, ranked(about), [name])
    assert not why
    return figure


HAND = {"a": (10.0, 30.0), "b": (20.0, 40.0), "c": (15.0, 29.0), "d": (20.0, 35.0), "e": (45.0, 20.0)}
"""FID and CLIP: a and b are front 1; d is behind b; c is behind a; c and d are front 2; e is front 3."""


def hand(path: Path, **more: Any) -> Run:
    return table([{"formulation": n, "fid": f, "clip": c, **more} for n, (f, c) in HAND.items()], path)


def test_fronts_of_a_hand_worked_case(tmp_path: Path) -> None:
    panel = one(hand(tmp_path / "t.csv"), "plane").figure.axes[0]
    found = {str(p.get_label()): np.asarray(p.get_xydata()) for p in panel.get_lines()}
    assert [n for n in found if n.startswith("front")] == ["front 1", "front 2", "front 3"]
    assert found["front 1"].tolist() == [[10, 30], [20, 30], [20, 40]]
    assert found["front 2"].tolist() == [[15, 29], [20, 29], [20, 35]]
    assert found["front 3"].tolist() == [[45, 20]]
    assert {n: tuple(found[n][0]) for n in HAND} == HAND
    assert {"1", "2", "3", *HAND} <= {t.get_text() for t in panel.texts}


def test_fronts_drawn_are_those_of_pareto() -> None:
    points = np.random.default_rng(0).integers(0, 9, (40, 2)).astype(float)
    index = fronts(points, [False, True])
    found = front_lines(points)
    for i, front in enumerate(found, start=1):
        assert sorted(map(tuple, front)) == sorted(map(tuple, points[index == i]))
        assert (
            np.diff(front, axis=0) >= 0
        ).all()  # neither objective gets worse without the other getting better


@pytest.mark.parametrize(("worst", "scale"), [(29.0, "linear"), (45.0, "log")])
def test_fid_is_logarithmic_if_it_spans_more_than_a_factor_of_three(
    tmp_path: Path, worst: float, scale: str
) -> None:
    about = table(
        [{"formulation": n, "fid": f, "clip": 30.0} for n, f in (("a", 10.0), ("b", worst))],
        tmp_path / "t.csv",
    )
    assert one(about, "plane").figure.axes[0].get_xscale() == scale


def test_plane_shows_means_and_deviations_over_seeds(few: Run, drawn: dict[str, Drawn]) -> None:
    (panel,) = drawn["plane"].figure.axes
    rows = few.frame[(few.frame["steps"] == 25) & (few.frame["cfg"] == 5)]
    for name, seeds in rows.groupby("formulation"):
        (dot,) = (line for line in panel.get_lines() if line.get_label() == name)
        assert np.allclose(dot.get_xydata(), [[seeds["fid"].mean(), seeds["clip"].mean()]])
    across = [c.get_segments()[0] for c in panel.collections]
    reach = sorted(float(np.abs(s[1] - s[0]).max()) / 2 for s in across)
    wanted = rows.groupby("formulation")[["fid", "clip"]].std(ddof=1).to_numpy().ravel()
    assert np.allclose(reach, sorted(wanted))


def test_steps_show_means_over_seeds(few: Run, drawn: dict[str, Drawn]) -> None:
    rows = few.frame[few.frame["cfg"] == 5]
    for axes, metric in zip(drawn["steps"].figure.axes, ("clip", "fid"), strict=True):
        for name in FEW:
            (line,) = (line for line in axes.get_lines() if line.get_label() == name)
            wanted = rows[rows["formulation"] == name].groupby("steps")[metric].mean()
            assert np.allclose(line.get_ydata(), wanted)
            assert np.allclose(line.get_xdata(), [5, 10, 25, 50], rtol=0.05)


def test_ranks_show_the_columns_of_the_ranking(few: Run, drawn: dict[str, Drawn]) -> None:
    ranking, (left, right) = ranked(few), drawn["ranks"].figure.axes
    assert [t.get_text() for t in left.get_yticklabels()] == list(ranking["formulation"])
    bars = {(*b.get_xdata(), b.get_ydata()[0]) for b in left.get_lines() if b.get_linewidth() > 1.2}
    wanted = zip(ranking["position_low"], ranking["position_high"], range(len(ranking)), strict=True)
    assert bars == {(low, high, y) for low, high, y in wanted if high > low}
    for y, row in ranking.iterrows():
        (dot,) = (line for line in left.get_lines() if line.get_label() == row["formulation"])
        assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (row["position"], y)
    assert np.allclose([patch.get_width() for patch in right.patches], 100 * ranking["front_one"])
    assert left.get_ylim()[0] > left.get_ylim()[1]  # best on top


def test_without_seeds_there_are_no_intervals(tmp_path: Path) -> None:
    figure = one(hand(tmp_path / "t.csv"), "ranks")
    assert len(figure.figure.axes) == 1
    assert "no intervals are known" in figure.caption


def test_heat_cells_are_the_numbers_of_the_ranking(study: Run, large: dict[str, Drawn]) -> None:
    ranks = ranked(study).set_index("formulation")["rank_all"]
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
                rank = ranks[f"{family.word}({float(first):.2f},{float(second):.2f})"]
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
    """Cells that are not there are empty; who always diverged has none, though a rank, and is named."""
    names = ("rf/lognorm(0.00,1.00)", "rf/lognorm(1.00,1.00)", "rf/lognorm(0.00,0.50)", "rf/lognorm(1.00,0.50)",
             "rf/lognorm(2.00,0.50)", "rf/lognorm(2.00,1.00)", "rf/lognorm(3.00,1.00)")  # fmt: skip
    about = folder(tmp_path, names, pictures=0, status=lambda n, d, s: "diverged" if n == names[5] else None)
    figure = one(about, "heat")
    assert [t.get_text() for t in figure.figure.axes[0].texts].count("–") == 2
    assert "of 6 formulations" in figure.caption
    assert "Left out: rf/lognorm(2.00,1.00) (diverged)." in figure.caption


def test_levels_are_relative_to_the_best_there(few: Run, drawn: dict[str, Drawn]) -> None:
    curves = cells.curves(few)
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
    curves = cells.curves(few)
    wanted = curves[curves["step"] == 4000].groupby("formulation")["level_0"].mean()
    from analysis.plots.levels import losses

    found, lost = losses(early, "synthetic")
    assert not lost
    assert np.allclose(found.iloc[:, 0], wanted[found.index])


def test_budget_and_error(few: Run, drawn: dict[str, Drawn]) -> None:
    left, right = drawn["budget"].figure.axes
    profile = cells.profiles(few)["rf"]
    (budget,) = (line for line in left.get_lines() if line.get_label() == "rf")
    assert np.array_equal(budget.get_ydata(), profile.budget)
    assert np.array_equal(budget.get_xdata(), profile.clock)
    errors = np.array([line.get_ydata() for line in right.get_lines() if line.get_label() in FEW])
    assert np.allclose(np.log(errors).mean(axis=0), 0)  # relative to the geometric mean of all


def test_curves_are_means_over_seeds(few: Run, drawn: dict[str, Drawn]) -> None:
    curves = cells.curves(few)
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


def _rgb(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def test_samples_are_the_pictures(few: Run, drawn: dict[str, Drawn]) -> None:
    """Row by row the best formulations, column by column captions and steps, pixel by pixel what the cells hold."""
    figure = drawn["samples"].figure
    (image,) = (i for i in figure.axes[0].get_images() if isinstance(i, AxesImage))
    sheet, order = np.asarray(image.get_array()), list(ranked(few)["formulation"])
    boxes = np.flatnonzero(np.diff(np.concatenate([[0], (sheet[0, :, 3] > 0).astype(int), [0]])) == 1)
    assert len(boxes) == 3 * 4
    for row, name in enumerate(order):
        for c, caption in enumerate((0, 1, 2)):
            for s, steps in enumerate((5, 10, 25, 50)):
                pictures = cells.pictures(few, name, "synthetic", 0, "ema", steps, 5.0, [caption])
                assert pictures is not None
                left = boxes[4 * c + s]
                shown = sheet[row * 17 : row * 17 + 16, left : left + 16, :3]
                assert np.array_equal(shown, pictures[0].transpose(1, 2, 0)), (name, caption, steps)
    texts = [t.get_text() for t in figure.axes[0].texts]
    assert texts[: len(order)] == order
    assert texts[-3:] == ["a red circle", "a green circle", "a blue circle"]


def test_samples_are_crisp(drawn: dict[str, Drawn]) -> None:
    """Every pixel of a picture is a square of equal pixels in the PNG."""
    png = np.asarray(Image.open(io.BytesIO(style.render(drawn["samples"], "png"))).convert("RGB"))
    figure = drawn["samples"].figure
    frame = figure.axes[0].get_position().bounds
    height, width = png.shape[:2]
    left, top = round(frame[0] * width), round((1 - frame[1] - frame[3]) * height)
    sheet = np.asarray(figure.axes[0].get_images()[0].get_array())
    zoom = round(frame[2] * width) / sheet.shape[1]
    assert zoom == int(zoom) > 1
    zoom = int(zoom)
    block = png[top : top + 16 * zoom, left : left + 16 * zoom]
    assert np.array_equal(block, sheet[:16, :16, :3].repeat(zoom, axis=0).repeat(zoom, axis=1))


def test_large_pictures_are_averaged_to_a_page(tmp_path: Path) -> None:
    from analysis.plots.samples import mosaic

    part = np.random.default_rng(0).integers(0, 256, (3, 4, 256, 256, 3)).astype(np.uint8)
    sheet, left, size = mosaic([part, part], room=1700)
    assert sheet.shape[1] <= 1700
    assert size == (128, 128)
    assert len(left) == 12
    assert np.array_equal(sheet[0, 0, :3], part[0, 0, :2, :2].mean(axis=(0, 1)).round())


def test_a_formulation_looks_the_same_everywhere(drawn: dict[str, Drawn], large: dict[str, Drawn]) -> None:
    figures = [*drawn.values(), *large.values()]
    for name in FEW:
        found = [line for d in figures for line in lines(d.figure, name) if line.get_color() != colours.MUTED]
        assert len(found) > 8
        assert {line.get_color() for line in found} == {colours.colour(name)}
        assert {line.get_marker() for line in found} == {colours.marker(name)}
        entries = [
            (text.get_text(), handle)
            for d in drawn.values()
            for legend in d.figure.legends
            for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
        ]
        for handle in (handle for text, handle in entries if text == name):
            assert (handle.get_color(), handle.get_marker()) == (colours.colour(name), colours.marker(name))


def test_a_large_run_highlights_the_best_and_the_baselines(study: Run, large: dict[str, Drawn]) -> None:
    order = list(ranked(study)["formulation"])
    wanted = [*order[:8], *(n for n in order[8:] if n in ("rf", "eps/linear"))]
    for name in ("levels", "curves", "steps", "budget"):
        figure = large[name]
        (legend,) = figure.figure.legends
        assert [t.get_text() for t in legend.get_texts()] == [*wanted, f"{61 - len(wanted)} others"]
        assert f"In colour: the {len(wanted)} formulations" in figure.caption


def test_who_lacks_a_seed_is_left_out_and_named(half: Run) -> None:
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
    for _, cell, home in about.cells():
        if cell.dataset == "y":
            (home / "metrics.jsonl").unlink()
    for name in ("levels", "curves"):
        assert one(about, name).caption.endswith(
            "Not shown: y, where no formulation has a log of every seed."
        ), name


def test_datasets_may_have_different_seeds(tmp_path: Path) -> None:
    """While a grid is running; what is told of x must not be told of y."""

    def status(name: str, dataset: str, seed: int) -> str | None:
        return "pending" if dataset == "y" and seed > 0 else None

    about = folder(tmp_path, FEW[:2], datasets=("x", "y"), seeds=3, pictures=0, status=status)
    assert "means over 3 seeds on x, 1 seed on y, bars" in one(about, "plane").caption


def test_samples_are_of_the_first_dataset_and_seed_with_pictures(tmp_path: Path) -> None:
    about = folder(tmp_path, FEW[:2], datasets=("x", "y"))
    for _, cell, home in about.cells():
        if (cell.dataset, cell.seed) != ("y", 1):
            for file in home.glob("images-*/*"):
                file.unlink()
    assert one(about, "samples").caption.startswith("Samples on y, seed 1, EMA weights")


def test_cells_to_come_are_not_drawn(tmp_path: Path) -> None:
    """A seed that many have not finished takes no part, as in the ranking, nor does who has nothing in the others."""

    def status(name: str, dataset: str, seed: int) -> str | None:
        return "pending" if (seed == 1 and name != "rf") or name == "v/cos" else None

    figure = one(folder(tmp_path, FEW[:5], status=status), "plane")
    assert "of 4 formulations" in figure.caption
    assert "seed 0 only" in figure.caption
    assert "Left out: v/cos (not at its end)." in figure.caption
    assert len(lines(figure.figure, "rf")) == 1


@pytest.mark.parametrize(
    ("settings", "usual"),
    [
        ([("raw", 25, 5.0), ("ema", 25, 5.0), ("ema", 50, 5.0)], ("ema", 25, 5.0)),
        ([("ema", 25, 1.0), ("ema", 50, 1.0), ("ema", 50, 7.0), ("ema", 50, 4.0)], ("ema", 50, 4.0)),
        ([("raw", 25, 5.0), ("ema", 10, 5.0)], ("ema", 10, 5.0)),
        ([("raw", 25, 5.0), ("other", 50, 5.0)], ("raw", 25, 5.0)),
    ],
)
def test_the_usual_setting(settings: list[tuple[str, int, float]], usual: tuple[str, int, float]) -> None:
    about = Subject(None, pd.DataFrame())  # type: ignore[arg-type]
    assert about.usual([Setting(*s) for s in settings]) == Setting(*usual)


def test_the_ladder_of_steps_has_the_guidance_of_the_fewest(tmp_path: Path) -> None:
    settings = [(50, 1.0), (25, 1.0), (10, 1.0), (50, 4.0), (5, 4.0)]
    rows = [{"formulation": "a", "fid": 9.0, "clip": 1.0, "steps": s, "cfg": c} for s, c in settings]
    found = ladder(Subject(table(rows, tmp_path / "t.csv"), pd.DataFrame({"formulation": ["a"]})))
    assert [(s.steps, s.cfg) for s in found] == [(5, 4.0), (50, 4.0)]


def test_captions_say_what_is_shown(drawn: dict[str, Drawn]) -> None:
    for name in ("plane", "steps"):
        assert "clip[synthetic,none,n=8]" in drawn[name].caption
        assert "fid[synthetic,none,n=8]" in drawn[name].caption
        assert "EMA weights" in drawn[name].caption
        assert "means over 3 seeds, bars one standard deviation over seeds" in drawn[name].caption
    assert "25 sampling steps, guidance 5" in drawn["plane"].caption
    assert "95 %" in drawn["ranks"].caption
    assert "bands one standard deviation over seeds" in drawn["curves"].caption
    assert "seed 0" in drawn["samples"].caption


def test_letters_that_the_font_lacks_are_told_once(tmp_path: Path) -> None:
    rows = [{"formulation": n, "fid": 9.0, "clip": c} for n, c in (("\u6d41/a", 30.0), ("rf", 31.0))]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = one(table(rows, tmp_path / "t.csv"), "plane")
        style.render(figure, "svg")
    assert figure.caption.endswith("Letters that the font lacks are drawn as boxes.")
    assert "boxes" not in one(hand(tmp_path / "u.csv"), "plane").caption


def test_titles_tell_no_folders(tmp_path: Path) -> None:
    rows = [
        {"formulation": n, "fid": f, "clip": c, "dataset": d, "steps": s}
        for n, (f, c) in HAND.items()
        for d in ("images:/home/me/birds", "digits")
        for s in (5, 25)
    ]
    about = table(rows, tmp_path / "t.csv")
    for name in ("plane", "steps"):
        titles = {axes.get_title() for axes in one(about, name).figure.axes}
        assert titles == {"images:\u2026/birds", "digits"}


def test_one_seed_has_no_bars(tmp_path: Path) -> None:
    figure = one(hand(tmp_path / "t.csv", seed=4), "plane")
    assert not figure.figure.axes[0].collections
    assert "seed 4 only" in figure.caption


@pytest.mark.parametrize(
    ("name", "why"),
    [("heat", "2 x 2"), ("levels", "without its cells"), ("budget", "without its cells"), ("curves", "without its cells"),
     ("samples", "without its cells"), ("steps", "only one number of sampling steps")],
)  # fmt: skip
def test_what_a_bare_table_lacks(tmp_path: Path, name: str, why: str) -> None:
    about = hand(tmp_path / "t.csv")
    found, reasons = plots.draw(about, ranked(about), [name])
    assert not found
    assert why in reasons[name]


def test_one_formulation_is_compared_with_nothing(tmp_path: Path) -> None:
    about = folder(tmp_path, FEW[:1], seeds=1)
    found, reasons = plots.draw(about, ranked(about))
    assert [d.name for d in found] == ["plane", "steps", "ranks", "curves", "samples"]
    assert reasons["levels"] == reasons["budget"] == "with one formulation there is nothing to compare"


def test_a_table_without_clip_has_no_plane(tmp_path: Path) -> None:
    rows = [
        {"formulation": n, "fid": f, "clip": None, "steps": s} for n, (f, _) in HAND.items() for s in (5, 25)
    ]
    about = table(rows, tmp_path / "t.csv")
    found, reasons = plots.draw(about, ranked(about), ["plane", "steps"])
    assert reasons["plane"].startswith("no formulation has both a CLIP score and FID")
    assert [axes.get_ylabel() for axes in found[0].figure.axes] == ["FID, lower is better"]


def test_unknown_figure(few: Run) -> None:
    with pytest.raises(UserError, match=r"no figure 'plain'; did you mean 'plane'\?"):
        plots.draw(few, ranked(few), ["plain"])


def test_the_same_figure_has_the_same_bytes(few: Run, drawn: dict[str, Drawn]) -> None:
    """Drawn again, rendered again, and whatever was rendered in between."""
    for again in plots.draw(few, ranked(few))[0]:
        first = style.render(drawn[again.name], "svg")
        style.render(drawn[again.name], "png")
        assert first == style.render(drawn[again.name], "svg") == style.render(again, "svg")
        if again.name in ("plane", "samples"):
            assert style.render(again, "png") == style.render(drawn[again.name], "png")


def test_the_users_settings_do_not_matter(few: Run, drawn: dict[str, Drawn]) -> None:
    import matplotlib as mpl

    with mpl.rc_context(
        {"font.size": 20, "axes.grid": True, "lines.linewidth": 5, "savefig.dpi": 50, "svg.fonttype": "none"}
    ):
        (figure,), _ = plots.draw(few, ranked(few), ["steps"])
        content = style.render(figure, "svg")
    assert content == style.render(drawn["steps"], "svg")


def test_svgs_may_stand_in_one_page(drawn: dict[str, Drawn]) -> None:
    """No id is there twice, every reference leads to one of its own figure, and there is nothing from elsewhere."""
    texts = {name: style.render(figure, "svg").decode() for name, figure in drawn.items()}
    ids = [i for text in texts.values() for i in re.findall(r' id="([^"]*)"', text)]
    assert len(ids) == len(set(ids))
    for name, text in texts.items():
        own = set(re.findall(r' id="([^"]*)"', text))
        assert all(i.startswith(f"{name}-") for i in own)
        assert set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', text)) <= {(i, "") for i in own} | {
            ("", i) for i in own
        }
        assert "<script" not in text
        assert not re.search(r'href="(?!#|data:image/png)', text)


def test_svg_is_compact_and_has_paths_for_letters(large: dict[str, Drawn]) -> None:
    for figure in large.values():
        content = style.render(figure, "svg")
        assert len(content) < 300_000, figure.name
        assert b"<text" not in content
        assert (b"<image" in content) == (figure.name == "samples")


def test_svg_uses_ink_grey_and_the_formulations_colours_only(drawn: dict[str, Drawn]) -> None:
    known = {colours.INK, colours.MUTED, *(colours.colour(name) for name in FEW)}
    for name, figure in drawn.items():
        content = style.render(figure, "svg").decode()
        assert set(re.findall(r"#[0-9a-f]{6}\b", content)) <= known, name
        assert colours.INK in content


def test_svg_keeps_the_drawing(drawn: dict[str, Drawn]) -> None:
    """Rounded coordinates differ by at most a hundredth of a point from matplotlib's."""
    figure = drawn["levels"]
    plain = io.BytesIO()
    with style.styled(**{"svg.hashsalt": "levels"}):
        figure.figure.savefig(plain, format="svg", metadata={"Date": None})
    paths = [
        [[float(v) for v in re.findall(r"-?[\d.]+(?:e-?\d+)?", d)] for d in re.findall(r' d="([^"]*)"', text)]
        for text in (plain.getvalue().decode(), style.render(figure, "svg").decode())
    ]
    assert [len(p) for p in paths[0]] == [len(p) for p in paths[1]]
    assert max(np.abs(np.subtract(a, b)).max(initial=0) for a, b in zip(*paths, strict=True)) <= 0.0051


def test_files_carry_title_and_caption(drawn: dict[str, Drawn]) -> None:
    figure = drawn["plane"]
    assert style.render(figure, "txt").decode() == f"{figure.title}. {figure.caption}\n"
    assert f"<desc>{figure.caption}</desc>" in style.render(figure, "svg").decode()
    png = Image.open(io.BytesIO(style.render(figure, "png")))
    assert (png.info["Title"], png.info["Description"]) == (figure.title, figure.caption)
    assert png.info["dpi"][0] == pytest.approx(300, abs=0.1)


def test_axes_say_which_way_is_better(drawn: dict[str, Drawn]) -> None:
    texts = {
        t.text for name in ("plane", "steps", "curves", "ranks") for t in written(drawn[name].figure, 100)
    }
    assert {
        "← FID, lower is better",
        "CLIP score, higher is better →",
        "validation loss, lower is better",
    } <= texts
    assert {"CLIP score, higher is better", "FID, lower is better", "position, best first"} <= texts


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(1.0, 100.0, [1, 10, 100]), (9.0, 35.0, [10, 15, 20, 30]), (1.0, 1.1, [1.0, 1.025, 1.05, 1.075, 1.1]),
     (0.98, 1.02, None), (2e-5, 3e4, None)],
)  # fmt: skip
def test_log_ticks_are_few_and_within(low: float, high: float, ticks: list[float] | None) -> None:
    found = style.log_ticks(low, high)
    assert 2 <= len(found) <= 8
    assert all(low * 0.999 <= t <= high * 1.001 for t in found)
    assert ticks is None or found == pytest.approx(ticks)


def test_merged_reasons() -> None:
    lost = {"x": {"a": "diverged", "b": "failed"}, "y": {"a": "diverged", "b": "missing", "c": "missing"}}
    assert subject.merged(lost) == {"a": "diverged", "b": "failed on x, missing on y", "c": "missing on y"}
    assert (
        subject.left_out({"a": "diverged", "b": "missing", "c": "diverged"})
        == "Left out: a, c (diverged); b (missing)."
    )
    assert subject.left_out({}) == ""
