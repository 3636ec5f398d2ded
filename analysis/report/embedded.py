"""The figures of `analysis.plots` and `analysis.scaling` for a page: SVG whose ink is the page's colour of text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from analysis import plots
from analysis.plots import files, style, widths
from analysis.ranking.result import RankingResult
from analysis.runs.run import Run
from analysis.scaling import Scaling, charts
from formulations import colours

TALL = 1.6
"""Height over width from which a figure comes last, so that it fills a column of its own."""


@dataclass(frozen=True)
class Figure:
    name: str
    title: str
    caption: str
    svg: Markup


def figures(run: Run, ranking: RankingResult) -> tuple[tuple[Figure, ...], dict[str, str]]:
    """All figures that can be drawn, a column wide, so that they fit a phone, and of the others why not; pictures are shown
    in their own part of the page."""
    drawn, reasons = plots.draw(run, ranking, width=widths.COLUMN, without=["samples"])
    return _embedded(drawn), reasons


def scaling_figures(found: Scaling) -> tuple[Figure, ...]:
    """The figures of a scaling experiment, a column wide."""
    return _embedded(charts.draw(found, widths.COLUMN))


def _embedded(drawn: Sequence[style.Drawn]) -> tuple[Figure, ...]:
    tall = [d for d in drawn if d.figure.get_figheight() > TALL * d.figure.get_figwidth()]
    return tuple(_figure(d) for d in [*(d for d in drawn if d not in tall), *tall])


def _figure(drawn: style.Drawn) -> Figure:
    """Ids begin with the figure's name already (`analysis.plots.files.render`)."""
    svg = files.render(drawn, "svg").decode()
    svg = svg[svg.index("<svg") :].replace(colours.INK, "currentColor")
    name = f"figure-{drawn.name}"
    svg = re.sub(
        r"^<svg[^>]*?(viewBox=\"[^\"]*\")[^>]*>", rf'<svg \1 role="img" aria-labelledby="{name}">', svg
    )
    svg = re.sub(r"<title>.*?</title>\s*|<desc>.*?</desc>\s*", "", svg, flags=re.DOTALL)
    return Figure(drawn.name, drawn.title, drawn.caption, Markup(svg))
