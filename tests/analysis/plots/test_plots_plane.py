"""CLIP against FID, and both against the number of sampling steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t as student

from analysis.plots.plane import front_lines
from analysis.plots.style import Drawn
from analysis.plots.subject import Subject, usual
from analysis.runs.run import Run
from analysis.stats import two_way as stats
from analysis.stats.pareto import fronts

from ..plotted import FEW, HAND, folder, hand, lines, one, perfect, ranked, table, with_frame


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
    found = subject.by_seed("clip", "synthetic", usual(subject.settings))
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


def test_bars_end_within_their_panels(tmp_path: Path) -> None:
    about = folder(tmp_path, seeds=2, pictures=0, settings=((5, 5.0), (50, 5.0)))
    perfect(about)
    frame = about.frame
    noisy = frame["fid"] * np.where(frame["seed"] == 0, 0.7, 1.4) ** (frame["formulation"] == "v/cos")
    about = with_frame(about, frame.assign(fid=noisy))
    panels = [panel for name in ("plane", "steps") for panel in one(about, name).figure.axes]
    assert "log" in {panel.get_yscale() for panel in panels}
    for panel in panels:
        low, high = panel.get_ylim()
        edges = [path.vertices[:, 1] for drawn in panel.collections for path in drawn.get_paths()]
        seen = np.concatenate(edges)
        assert seen.max() <= high
        assert seen[seen > 0].min() >= low
