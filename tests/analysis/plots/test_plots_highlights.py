"""Which formulations a figure highlights, and that each looks the same in all figures."""

from __future__ import annotations

from analysis.plots.style import Drawn
from analysis.runs.run import Run
from formulations import colours

from ..plotted import FEW, lines, ranked


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
    order = list(ranked(study).names)
    wanted = [*order[:8], *(n for n in order[8:] if n in ("rf", "eps/linear"))]
    for name in ("levels", "curves", "steps", "budget"):
        figure = large[name]
        (legend,) = figure.figure.legends
        assert [t.get_text() for t in legend.get_texts()] == [*wanted, f"{61 - len(wanted)} others"]
        assert f"In colour: the {len(wanted)} formulations" in figure.caption
