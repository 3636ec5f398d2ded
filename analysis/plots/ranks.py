"""The ranking as a picture: positions with their intervals, and how often each formulation is on the first front."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.plots import style, widths
from analysis.plots.captions import sentences
from analysis.plots.style import Drawn
from analysis.plots.subject import Subject, Undrawable
from analysis.ranking.blocks import seed_count
from analysis.tables.wording import count, series
from formulations.colours import MUTED, colour

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

ROW = 0.132
"""Height of a row, inches."""


def draw(subject: Subject) -> Drawn:
    """Rows in the order of the ranking, best on top; equal mean fronts share a position. There is no figure where no two
    formulations are separated: an order would show what chance made."""
    ranking = subject.ranking.frame()
    ranking["position"] = ranking["rank_all"].rank(method="average")
    rows = ranking[~ranking["formulation"].isin(list(subject.dead))].reset_index(drop=True)
    if rows.empty:
        raise Undrawable("no formulation has a place")
    if not (_has(rows, "position_low") and _has(rows, "position_high")):
        unknown = subject.ranking.facts.unknown.get("rank")
        raise Undrawable(
            f"there is no order to show, as nothing shows how much a seed matters ({unknown})"
            if unknown
            else "no two formulations have every entry of two seeds, so that their order cannot be judged"
        )
    if rows["rank_tied"].notna().any() and rows["rank_tied"].fillna(True).all():
        raise Undrawable(
            f"{seed_count(subject.seed_counts)} separate no two of the formulations, so that there is no order to show"
        )
    shares = _has(rows, "front_one")
    figure = style.figure(subject.width, max(ROW * len(rows), 0.4) + 0.45)
    ratios = [4, 1] if shares else [1]
    panels = figure.subplots(1, len(ratios), squeeze=False, sharey=True, width_ratios=ratios)[0]
    _positions(panels[0], rows, widths.alongside(subject.width))
    if shares:
        _shares(panels[1], rows)
    partly = _partly(rows)
    caption = sentences(
        f"Positions of {count(len(rows), 'formulation')} in the ranking by mean Pareto front index on",
        f"{series(subject.datasets)}, {seed_count(subject.seed_counts)};",
        "bars are 95 % intervals of the position over seeds (parametric bootstrap); equal mean fronts share a position.",
        "On the right: how often a formulation is on front 1 of a setting, in the same draws."
        if shares
        else "",
        f"Open: ranked last where trainings are lost ({', '.join(partly)})." if partly else "",
        subject.left_out(subject.dead),
    )
    return Drawn("ranks", "Positions in the ranking", caption, figure)


def _has(rows: pd.DataFrame, column: str) -> bool:
    return column in rows and bool(rows[column].notna().any())


def _partly(rows: pd.DataFrame) -> list[str]:
    """The formulations that lack some entries."""
    states = [state for state in ("diverged", "failed", "missing") if state in rows]
    return [str(name) for name in rows.loc[rows[states].sum(axis=1) > 0, "formulation"]]


def _positions(panel: Axes, rows: pd.DataFrame, longest: int) -> None:
    open_ones, last = _partly(rows), float(rows["position"].max())
    for y, row in enumerate(rows.to_dict("records")):
        name, x = str(row["formulation"]), float(row["position"])
        low, high = (float(row[f"position_{end}"]) for end in ("low", "high"))
        begin = low if np.isfinite(low) else x
        guide: dict[str, Any] = {
            "color": MUTED,
            "linewidth": 0.4,
            "alpha": 0.45,
            "zorder": 1,
            "linestyle": (0, (1, 2)),
        }
        panel.plot([-1, begin], [y, y], **guide)
        if high > low:
            bar: dict[str, Any] = {"linewidth": 1.5, "alpha": 0.6, "solid_capstyle": "butt", "zorder": 2}
            panel.plot([low, high], [y, y], color=colour(name), **bar)
        fill = {"markerfacecolor": "none", "markeredgewidth": 0.8} if name in open_ones else {}
        panel.plot([x], [y], **style.dot(name, 4.2, zorder=3, **fill))
    most = max(last, float(np.nanmax(rows["position_high"])))
    panel.set_xlim(0.3 - 0.01 * most, most + 0.7 + 0.01 * most)
    panel.set_ylim(len(rows) - 0.4, -0.6)
    panel.set_yticks(range(len(rows)), [widths.shown(str(name), longest) for name in rows["formulation"]])
    panel.tick_params(axis="y", length=0)
    panel.spines["left"].set_visible(False)
    panel.set_xticks(_ticks(int(most)))
    panel.set_xlabel("position, best first")


def _ticks(most: int) -> list[int]:
    """Round positions, and the first."""
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, most) if most <= 7 * s)
    return [1, *(p for p in range(step, most + 1, step) if p > 1)]


def _shares(panel: Axes, rows: pd.DataFrame) -> None:
    percent = 100 * rows["front_one"].fillna(0).to_numpy(dtype=np.float64)
    colours = [colour(str(name)) for name in rows["formulation"]]
    panel.barh(np.arange(len(rows)), percent, height=0.55, color=colours, alpha=0.8, linewidth=0)
    panel.set_xlim(0, 100)
    panel.set_xticks([0, 100], ["0", "100"])
    panel.tick_params(axis="y", length=0)
    panel.set_xlabel("front 1, %")
