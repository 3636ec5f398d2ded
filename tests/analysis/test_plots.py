"""Figures show the numbers that they are said to show, and the same look everywhere."""

from __future__ import annotations

import io
import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.image import AxesImage
from PIL import Image
from safetensors.numpy import save_file
from scipy.stats import rankdata
from scipy.stats import t as student

from analysis import cells, plots, run, stats
from analysis.pareto import fronts
from analysis.plots import heat, style
from analysis.plots.plane import front_lines
from analysis.plots.style import Drawn
from analysis.plots.subject import Subject
from analysis.run import Run
from bench.settings import ControlSetting
from formulations import colours

from .plotted import FEW, HAND, folder, hand, lines, one, perfect, ranked, table, with_frame


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


def test_plane_shows_means_and_intervals_over_seeds(few: Run, drawn: dict[str, Drawn]) -> None:
    (panel,) = drawn["plane"].figure.axes
    rows = few.frame[(few.frame["steps"] == 25) & (few.frame["cfg"] == 5)]
    for name, seeds in rows.groupby("formulation"):
        (dot,) = (line for line in panel.get_lines() if line.get_label() == name)
        assert np.allclose(dot.get_xydata(), [[seeds["fid"].mean(), seeds["clip"].mean()]])
    across = [c.get_segments()[0] for c in panel.collections]
    reach = sorted(float(np.abs(s[1] - s[0]).max()) / 2 for s in across)
    wanted = []
    for metric in ("fid", "clip"):
        values = rows.pivot_table(index="formulation", columns="seed", values=metric)
        model = stats.fit(values.to_numpy(), list(values.index), list(values.columns))
        wanted += list(student.ppf(0.975, model.moderated_df) * np.sqrt(model.bounded / 3))
    assert np.allclose(reach, sorted(wanted))


def test_the_interval_of_a_figure_is_that_of_differences(few: Run) -> None:
    subject = Subject(few, ranked(few))
    found = subject.by_seed("clip", "synthetic", subject.usual())
    model = stats.fit(found.table.to_numpy(), list(found.table.index), list(found.table.columns))
    apart = model.differences(0)
    half = found.half.to_numpy()
    assert np.allclose(half[1:] ** 2 + half[0] ** 2, ((apart.high - apart.low)[1:] / 2) ** 2)


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
    assert why == {"ranks": "there is no order to show, as nothing tells how much a seed matters (one seed)"}


@pytest.mark.parametrize(
    ("kept", "told"), [({0, 1}, "2 to 3 seeds"), ({0}, "(one seed of digits)"), ({5, 6, 7}, "3 seeds")]
)
def test_datasets_may_have_different_seeds(kept: set[int], told: str, tmp_path: Path) -> None:
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
    assert told in captions["ranks"]
    assert {0: "1 to 3 seeds"}.get(max(kept), told) in captions["heat"]


def test_no_order_is_drawn_where_nothing_is_separated(few: Run) -> None:
    level = ranked(few)
    level["rank_tied"] = pd.array([True] * len(level), dtype="boolean")
    drawn, why = plots.draw(few, level, ["ranks"])
    assert drawn == []
    assert why == {"ranks": "3 seeds separate no two of the formulations, so that there is no order to show"}


def test_equal_mean_fronts_share_a_position(few: Run) -> None:
    level = ranked(few)
    level.loc[3:4, "rank_all"] = 3.5
    level["rank_tied"] = pd.array([True, *[False] * (len(level) - 1)], dtype="boolean")
    (figure,), _ = plots.draw(few, level, ["ranks"])
    places = [lines(figure.figure, name)[0].get_xdata()[0] for name in level["formulation"][3:5]]
    assert places[0] == places[1] == 4.5


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
                setting = ControlSetting(steps, 5.0, weights="ema")
                pictures = cells.pictures(few, name, "synthetic", 0, setting, [caption])
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


def test_the_sample_sheet_begins_with_real_images(few: Run, tmp_path: Path) -> None:
    shutil.copytree(few.path, tmp_path / "run")
    about = run.read(tmp_path / "run")
    captions = cells.captions(about, "synthetic")
    kept = np.random.default_rng(0).integers(0, 256, (3, 3, 16, 16), dtype=np.uint8)
    file = about.path / "yardsticks" / "recipe" / f"{sha256(b'synthetic').hexdigest()[:12]}.safetensors"
    file.parent.mkdir(parents=True)
    told = {"about": json.dumps({"captions": [captions[0], captions[0], captions[1]]})}
    save_file({"images": kept}, file, metadata=told)
    found = cells.real_images(about, "synthetic", captions[0], 5)
    assert found is not None
    assert (found == kept[:2]).all()
    assert cells.real_images(about, "synthetic", "another caption", 5) is None
    sheet = one(about, "samples")
    rows = [t.get_text() for t in sheet.figure.axes[0].texts]
    assert rows[: 1 + len(FEW)] == ["real images", *ranked(about)["formulation"]]
    assert "First row: real images with the same captions" in sheet.caption
    (image,) = (i for i in sheet.figure.axes[0].get_images() if isinstance(i, AxesImage))
    shown = np.asarray(image.get_array())[:16]
    assert (shown[:, :16, :3] == kept[0].transpose(1, 2, 0)).all()
    assert (shown[:, 2 * 17 : 3 * 17 - 1, 3] == 0).all(), "there is no third real image of that caption"
    file.write_bytes(b"damaged")
    assert rows[0] not in [t.get_text() for t in one(about, "samples").figure.axes[0].texts]


def test_steps_show_what_a_perfect_network_has(tmp_path: Path) -> None:
    """A line of dashes for each formulation, through the values of the file; those that coincide take turns. Without the
    file, or with one that cannot be read, there are none, and the caption says so of the latter."""
    about = folder(tmp_path, FEW[:4], pictures=0, settings=((5, 5.0), (25, 5.0)))
    assert "perfect" not in one(about, "steps").caption
    left = perfect(about)
    figure = one(about, "steps")
    panel = figure.figure.axes[1]
    for name in FEW[:4]:
        (line,) = lines(figure.figure, f"{name}, perfect")
        assert line.axes is panel
        assert list(line.get_ydata()) == pytest.approx([left[name, 5], left[name, 25]])
        assert panel.get_ylim()[0] <= left[name, 25]
        mean = about.frame.query("formulation == @name and steps == 5")["fid"].mean()
        assert f"{left[name, 5]:.3g} of {mean:.3g} ({name})" in figure.caption
    styles = [line.get_linestyle() for name in FEW[:3] for line in lines(figure.figure, f"{name}, perfect")]
    assert len(styles) == 3
    (about.path / "ideal.json").write_text("{")
    assert "No perfect network is shown: " in one(about, "steps").caption
