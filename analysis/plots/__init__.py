"""Figures of a run. `draw` makes them, `files.write` and ``python -m analysis.plots`` write them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from analysis.plots import attention, by_network, evaluations, heat, plane, ranks, samples, steps, training
from analysis.plots.captions import sentences
from analysis.plots.files import FORMATS
from analysis.plots.style import Drawn, boxes, styled
from analysis.plots.subject import Subject, Undrawable
from analysis.plots.widths import PAGE
from flowbench._core.errors import UserError, nearest

if TYPE_CHECKING:
    from analysis.ranking.result import RankingResult
    from analysis.runs.run import Run

__all__ = ["FIGURES", "FORMATS", "Drawn", "draw"]


@dataclass(frozen=True)
class Kind:
    """A figure: what it ``shows``, and the function that draws it or raises `Undrawable`."""

    shows: str
    draw: Callable[[Subject], Drawn]
    optional: bool = False
    """Whether most runs have nothing to draw it from, so that its absence is worth no word."""


FIGURES = {
    "plane": Kind("CLIP score against FID at one control setting, with the Pareto fronts", plane.draw),
    "steps": Kind("CLIP score and FID against the number of sampling steps", steps.draw),
    "evaluations": Kind("quality against network evaluations, by solver and time grid", evaluations.draw),
    "ranks": Kind("positions with their 95 % intervals, and how often on front 1", ranks.draw),
    "heat": Kind("mean rank over the parameters of rf/lognorm and edm", heat.draw),
    "levels": Kind("validation loss at each noise level, relative to the best", training.levels),
    "budget": Kind("where training is spent, and the error that results", training.budget),
    "curves": Kind("validation loss against training steps", training.curves),
    "networks": Kind(
        "validation loss by network, and FID and CLIP score by weights of milestones, against steps, operations and seconds",
        by_network.draw,
        True,
    ),
    "attention": Kind("attention's largest logit and entropy against training steps", attention.draw, True),
    "samples": Kind("pictures of the best formulations", samples.draw),
}
"""All figures by name, in the order in which they are drawn."""


def draw(
    run: Run,
    ranking: RankingResult,
    only: Iterable[str] = (),
    width: float = PAGE,
    without: Collection[str] = (),
) -> tuple[list[Drawn], dict[str, str]]:
    """Draw the figures of a run that can be drawn; also return why the others cannot.

    ``ranking`` is that run's (`analysis.ranking.ranking.rank`); ``only`` names some of `FIGURES`, by default all but those
    ``without``; they are ``width`` inches wide, with panels side by side where that is a page's. Raises `UserError` for an
    unknown name.
    """
    asked = list(dict.fromkeys(only))
    names = asked or [name for name in FIGURES if name not in without]
    for name in names:
        if name not in FIGURES:
            raise UserError(f"there is no figure {name!r}; {nearest(name, FIGURES)}")
    subject = Subject(run, ranking, width)
    drawn, why = [], {}
    with styled():
        for name in names:
            try:
                figure = FIGURES[name].draw(subject)
            except Undrawable as reason:
                if asked or not FIGURES[name].optional:
                    why[name] = str(reason)
            else:
                caption = figure.caption + boxes(figure.figure)
                stages = [f"{line[0].upper()}{line[1:]}." for line in ranking.facts.stages]
                drawn.append(replace(figure, caption=sentences(caption, *stages)))
    return drawn, why
