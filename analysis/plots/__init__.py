"""Figures of a run. `draw` makes them, `files.write` and ``python -m analysis.plots`` write them."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from analysis.plots.files import FORMATS
from analysis.plots.style import Drawn
from analysis.plots.subject import Subject, Undrawable
from analysis.plots.widths import PAGE
from flowbench._core.errors import UserError, nearest

if TYPE_CHECKING:
    from analysis.ranking.result import RankingResult
    from analysis.results.run import Run

__all__ = ["FIGURES", "FORMATS", "Drawn", "draw"]

FIGURES = {
    "plane": "CLIP score against FID at one control setting, with the Pareto fronts",
    "steps": "CLIP score and FID against the number of sampling steps",
    "ranks": "positions with their 95 % intervals, and how often on front 1",
    "heat": "mean rank over the parameters of rf/lognorm and edm",
    "levels": "validation loss at each noise level, relative to the best",
    "budget": "where training is spent, and the error that results",
    "curves": "validation loss against training steps",
    "samples": "pictures of the best formulations",
}
"""The figures, and what they show; each is drawn by ``draw(Subject)`` in the module of its name."""


def draw(
    run: Run, ranking: RankingResult, only: Iterable[str] = (), width: float = PAGE
) -> tuple[list[Drawn], dict[str, str]]:
    """The figures of a run that can be drawn, and why the others cannot.

    ``ranking`` is that run's (`analysis.ranking.ranking.rank`); ``only`` names some of `FIGURES`, all by default; they are
    ``width`` inches wide, with panels side by side where that is a page's. Raises `UserError` for an unknown name.
    """
    from analysis.plots.style import boxes, styled

    names = list(dict.fromkeys(only)) or list(FIGURES)
    for name in names:
        if name not in FIGURES:
            raise UserError(f"there is no figure {name!r}; {nearest(name, FIGURES)}")
    subject = Subject(run, ranking, width)
    drawn, why = [], {}
    with styled():
        for name in names:
            try:
                figure = importlib.import_module(f".{name}", __name__).draw(subject)
            except Undrawable as reason:
                why[name] = str(reason)
                continue
            drawn.append(replace(figure, caption=figure.caption + boxes(figure.figure)))
    return drawn, why
