"""Figures as files: the same bytes twice, compact, several in one page, with title and caption."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image

from analysis import plots
from analysis.plots import captions, files, scales, style
from analysis.plots.style import Drawn
from analysis.runs.run import Run
from formulations import colours

from ..plotted import FEW, ranked, written


def test_the_same_figure_has_the_same_bytes(few: Run, drawn: dict[str, Drawn], svgs: dict[str, str]) -> None:
    """Drawn again, rendered again, and whatever was rendered in between."""
    for again in plots.draw(few, ranked(few))[0]:
        assert svgs[again.name] == files.render(again, "svg").decode()
        if again.name in ("plane", "samples"):
            assert files.render(again, "png") == files.render(drawn[again.name], "png")
            assert svgs[again.name] == files.render(drawn[again.name], "svg").decode()


def test_the_users_settings_do_not_matter(few: Run, svgs: dict[str, str]) -> None:
    import matplotlib as mpl

    with mpl.rc_context(
        {"font.size": 20, "axes.grid": True, "lines.linewidth": 5, "savefig.dpi": 50, "svg.fonttype": "none"}
    ):
        (figure,), _ = plots.draw(few, ranked(few), ["steps"])
        content = files.render(figure, "svg")
    assert content.decode() == svgs["steps"]


def test_svgs_may_stand_in_one_page(svgs: dict[str, str]) -> None:
    """No id is there twice, every reference leads to one of its own figure, and there is nothing from elsewhere."""
    ids = [i for text in svgs.values() for i in re.findall(r' id="([^"]*)"', text)]
    assert len(ids) == len(set(ids))
    for name, text in svgs.items():
        own = set(re.findall(r' id="([^"]*)"', text))
        assert all(i.startswith(f"{name}-") for i in own)
        assert set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', text)) <= {(i, "") for i in own} | {
            ("", i) for i in own
        }
        assert "<script" not in text
        assert not re.search(r'href="(?!#|data:image/png)', text)


def test_svg_is_compact_and_has_paths_for_letters(large: dict[str, Drawn]) -> None:
    for figure in large.values():
        content = files.render(figure, "svg")
        assert len(content) < 300_000, figure.name
        assert b"<text" not in content
        assert (b"<image" in content) == (figure.name == "samples")


def test_svg_uses_ink_grey_and_the_formulations_colours_only(svgs: dict[str, str]) -> None:
    known = {colours.INK, colours.MUTED, *(colours.colour(name) for name in FEW)}
    for name, content in svgs.items():
        assert set(re.findall(r"#[0-9a-f]{6}\b", content)) <= known, name
        assert colours.INK in content


def test_svg_keeps_the_drawing(drawn: dict[str, Drawn]) -> None:
    """Rounded coordinates differ by at most a hundredth of a point from matplotlib's."""
    figure = drawn["levels"]
    plain = io.BytesIO()
    with style.styled(**{"svg.hashsalt": "levels"}):
        style.settle(figure.figure)
        figure.figure.savefig(plain, format="svg", metadata={"Date": None})
    paths = [
        [[float(v) for v in re.findall(r"-?[\d.]+(?:e-?\d+)?", d)] for d in re.findall(r' d="([^"]*)"', text)]
        for text in (plain.getvalue().decode(), files.render(figure, "svg").decode())
    ]
    assert [len(p) for p in paths[0]] == [len(p) for p in paths[1]]
    assert max(np.abs(np.subtract(a, b)).max(initial=0) for a, b in zip(*paths, strict=True)) <= 0.0051


def test_files_carry_title_and_caption(drawn: dict[str, Drawn]) -> None:
    figure = drawn["plane"]
    assert files.render(figure, "txt").decode() == f"{figure.title}. {figure.caption}\n"
    assert f"<desc>{figure.caption}</desc>" in files.render(figure, "svg").decode()
    png = Image.open(io.BytesIO(files.render(figure, "png")))
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
    found = scales.log_ticks(low, high)
    assert 2 <= len(found) <= 8
    assert all(low * 0.999 <= t <= high * 1.001 for t in found)
    assert ticks is None or found == pytest.approx(ticks)


def test_merged_reasons() -> None:
    lost = {"x": {"a": "diverged", "b": "failed"}, "y": {"a": "diverged", "b": "missing", "c": "missing"}}
    assert captions.merged(lost) == {"a": "diverged", "b": "failed on x, missing on y", "c": "missing on y"}
    assert (
        captions.left_out({"a": "diverged", "b": "missing", "c": "diverged"})
        == "Left out: a, c (diverged); b (missing)."
    )
    assert captions.left_out({}) == ""
