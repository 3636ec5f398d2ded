"""Nothing in a figure is written over anything else or out of it: the placer alone, and all figures of runs of all sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import plots
from analysis.plots import style, widths
from analysis.plots.placement import Label, place
from analysis.plots.style import Drawn
from formulations.colours import INK, MUTED, SIZES

from ..plotted import FEW, STUDY, Written, folder, outside, overlapping, perfect, ranked, written

ODD = (
    "rf",
    "_hidden",
    "eps/$x_1$/linear",
    "rf/shift(3.00,lognorm(0.00,1.00))+edmmono(-1.20,1.20,0.50)@eps",
    "rf/lognorm(0.00,1.00)",
    "rf/lognorm(0.50,1.00)",
    "rf/lognorm(0.00,0.60)",
    "rf/lognorm(0.50,0.60)",
    "x/rf/lognorm(0.80,0.80)@v",
    "rf/trunclognorm(0.00,1.00,0.05,1.00)",
    "edm(0.00,0.60)",
    "line break",
)
SEVERAL = ("shapes", "digits", "a data set whose name is longer than any panel is wide, really")
FOLDERS: dict[str, dict[str, Any]] = {
    "one": {"names": FEW[1:2], "seeds": 1},
    "few": {"names": FEW},
    "study": {"names": STUDY, "settings": ((50, 5.0), (5, 5.0), (25, 5.0))},
    "odd": {"names": ODD, "datasets": SEVERAL, "weights": ("raw",), "settings": ((50, 5.0), (4, 5.0))},
}


CASES = (("one", "column"), ("few", "page"), ("few", "column"), ("study", "column"), ("odd", "page"))
LONG = {"odd": (pytest.mark.long,)}


@pytest.fixture(
    scope="module", params=[pytest.param(c, marks=LONG.get(c[0], ()), id="-".join(c)) for c in CASES]
)
def case(request: pytest.FixtureRequest) -> tuple[str, str]:
    """One of `FOLDERS`, and a width."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def width(case: tuple[str, str]) -> float:
    return widths.WIDTHS[case[1]]


@pytest.fixture(scope="module")
def drawn(case: tuple[str, str], width: float, tmp_path_factory: pytest.TempPathFactory) -> list[Drawn]:
    """All figures of a run folder with what its steps leave to a perfect network."""
    about = folder(tmp_path_factory.mktemp(case[0]), **FOLDERS[case[0]])
    perfect(about)
    return plots.draw(about, ranked(about), width=width)[0]


def axes() -> tuple[Figure, Axes]:
    figure = style.figure(widths.COLUMN, 2.5)
    panel = figure.subplots()
    panel.set(xlim=(0, 1), ylim=(0, 1))
    style.settle(figure)
    return figure, panel


def labels_of(panel: Axes) -> list[Written]:
    """Labels with their rings."""
    boxes = [(t.get_bbox_patch() or t).get_window_extent() for t in panel.texts]
    return [Written(t.get_text(), tuple(b.extents), 1, "") for t, b in zip(panel.texts, boxes, strict=True)]


points = st.lists(st.tuples(st.floats(-0.2, 1.2), st.floats(-0.2, 1.2)), min_size=1, max_size=25)


@settings(max_examples=20)
@given(points, st.booleans())
def test_placed_labels_touch_nothing(at: list[tuple[float, float]], ring: bool) -> None:
    with style.styled():
        figure, panel = axes()
        wanted = [Label(f"rf/mode({i}.00)", (p,), ring and i % 2 == 0) for i, p in enumerate(at)]
        lost = place(panel, wanted, at, [np.array(at)], size=5)
        figure.draw_without_rendering()  # rings find their size
        texts = labels_of(panel)
    assert sorted([t.text for t in texts] + [label.text for label in lost]) == sorted(w.text for w in wanted)
    assert not overlapping(texts)
    frame = panel.get_window_extent()
    marks = [Written("", (x - 3, y - 3, x + 3, y + 3), 1, "") for x, y in panel.transData.transform(at)]
    for text in texts:
        assert frame.x0 <= text.box[0] < text.box[2] <= frame.x1
        assert frame.y0 <= text.box[1] < text.box[3] <= frame.y1
        assert not any(overlapping([text, mark]) for mark in marks)


def test_a_lone_label_stands_close_and_to_the_right() -> None:
    with style.styled():
        figure, panel = axes()
        assert place(panel, [Label("rf", ((0.5, 0.5),))], [(0.5, 0.5)]) == []
        (text,) = (w for w in written(figure, 100) if w.text == "rf")
    x, y = panel.transData.transform((0.5, 0.5))
    assert 2 < text.box[0] - x < 8
    assert text.box[1] < y < text.box[3]


def test_the_more_important_label_gets_the_place() -> None:
    """Two labels for one spot that has room for one: the first in the list is written."""
    with style.styled():
        for names in (("first", "second"), ("second", "first")):
            _, panel = axes()
            wall = [
                (x, y)
                for x in np.linspace(0, 1, 60)
                for y in np.linspace(0, 1, 40)
                if not (x > 0.5 and 0.45 < y < 0.56)
            ]
            lost = place(panel, [Label(name, ((0.5, 0.5),)) for name in names], wall, size=2)
            assert [label.text for label in lost] == [names[1]]


def test_a_far_label_has_a_line_to_its_point() -> None:
    with style.styled():
        _, panel = axes()
        around = [
            (0.5 + x, 0.5 + y) for x in np.linspace(-0.06, 0.06, 7) for y in np.linspace(-0.08, 0.08, 7)
        ]
        assert place(panel, [Label("rf", ((0.5, 0.5),))], around) == []
        (line,) = panel.get_lines()
    assert np.allclose(line.get_xydata()[0], (0.5, 0.5))  # type: ignore[index]


@pytest.fixture(scope="module")
def texts(drawn: list[Drawn]) -> dict[str, list[Written]]:
    return {figure.name: written(figure.figure, 100) for figure in drawn}


def test_nothing_overlaps_or_leaves_the_figure(drawn: list[Drawn], texts: dict[str, list[Written]]) -> None:
    for figure in drawn:
        assert texts[figure.name]
        assert overlapping(texts[figure.name]) == [], figure.name
        assert outside(texts[figure.name], figure.figure, 100) == [], figure.name


def test_texts_are_large_enough_and_of_ink(texts: dict[str, list[Written]]) -> None:
    for name, found in texts.items():
        assert {t.size for t in found} <= {7.0, 7.5, 8.0, 9.0}
        if name != "heat":  # its numbers stand on colour
            assert {t.colour for t in found} == {INK}


def test_figures_are_as_wide_as_asked_and_fit_a_page(drawn: list[Drawn], width: float) -> None:
    """A sheet of samples may be smaller: its pixels are not made larger than they are legible."""
    for figure in drawn:
        wide, height = figure.figure.get_size_inches()
        assert wide == width or (figure.name == "samples" and 1 < wide < width), figure.name
        assert height <= 9.5, figure.name


def test_panels_stack_where_a_figure_is_a_column_wide(drawn: list[Drawn], width: float) -> None:
    for figure in (d for d in drawn if d.name in ("plane", "steps", "levels", "budget", "curves")):
        edges = {round(axes.get_position().x0, 2) for axes in figure.figure.axes}
        most = 1 if width == widths.COLUMN else 2
        assert len(edges) <= most, figure.name


def test_every_highlighted_name_is_read_exactly_once(
    drawn: list[Drawn], texts: dict[str, list[Written]]
) -> None:
    """In the legend of a figure of lines; what has no name is grey."""
    for figure in (d for d in drawn if d.name in ("steps", "levels", "budget", "curves")):
        for line in (line for axes in figure.figure.axes for line in axes.get_lines()):
            if "perfect" in str(line.get_label()):
                continue
            named = sum(t.text == widths.shown(str(line.get_label())) for t in texts[figure.name])
            assert named == (line.get_color() != MUTED), (figure.name, line.get_label())


def test_long_names_lose_their_middle() -> None:
    name = "a" * 30 + "b" * 30
    assert widths.shown(name) == "a" * 21 + "…" + "b" * 21
    assert widths.shown("a\n b") == "a b"


def test_crowded_names_go_to_a_legend(
    case: tuple[str, str], drawn: list[Drawn], texts: dict[str, list[Written]]
) -> None:
    """Names stand next to the points where there is room for all, else in a legend, and never in both."""
    (plane,) = (figure for figure in drawn if figure.name == "plane")
    assert len(plane.figure.legends) == (case[0] in ("study", "odd"))
    dots = [line for axes in plane.figure.axes for line in axes.get_lines() if line.get_marker() in SIZES]
    large = [line for line in dots if line.get_markersize() / SIZES[str(line.get_marker())] > 4]
    for name in {widths.shown(str(line.get_label())) for line in large}:
        assert sum(t.text == name for t in texts["plane"]) == 1
