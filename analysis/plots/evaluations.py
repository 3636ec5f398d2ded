"""Quality against the evaluations of the network that each solver and time grid takes, formulation by formulation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.plots import legends, lines, scales, style, widths
from analysis.plots.captions import INTERVALS, sentences
from analysis.plots.style import Drawn
from analysis.plots.subject import Subject, Undrawable
from analysis.ranking import ideal_columns
from bench.config.sampling_settings import ControlSetting
from flowbench._core.errors import UserError
from formulations.colours import FAMILIES, LINES, MARKERS, MUTED

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

HUES = (*FAMILIES, "others")
"""Formulations that lend solvers their colours."""
ASIDE = 0.02
"""By how much neighbouring lines stand apart, in natural logarithms."""
PERFECT: dict[str, Any] = {"color": MUTED, "linewidth": 0.7, "marker": "none"}
"""Of a perfect network, in the legend; a line has the colour and the dashes of its method."""
METRICS = ("fid", "clip")
"""The first that the run has is shown."""
MOST = 6
"""Formulations with a panel, the best and the baselines first."""


@dataclass(frozen=True)
class Point:
    """A mean over seeds at one setting, and half of its interval; ``perfect`` is what a perfect network would have."""

    evaluations: int
    mean: float
    half: float
    perfect: float


def draw(subject: Subject) -> Drawn:
    """A panel for each dataset and formulation, a line for each solver and time grid."""
    metric = next((m for m in METRICS if m in subject.rows and subject.rows[m].notna().any()), None)
    if metric is None:
        raise Undrawable("there is neither FID nor CLIP score")
    settings, unknown = comparable(subject.settings)
    methods = list(dict.fromkeys(s.way for s in settings))
    if len(methods) < 2:
        raise Undrawable("all images are drawn by one solver on one time grid")
    names = subject.highlighted(subject.order)[:MOST]
    places = [
        (d, n, points)
        for d in subject.datasets
        for n in names
        if (points := found(subject, metric, d, n, settings))
    ]
    if not places:
        raise Undrawable("no formulation has a value at these settings in every seed")
    looks = looks_of(methods)
    below = legends.legend_height(subject.width, len(methods) + 1)
    figure, panels = lines.grid(len(places), subject.width, below=below)
    for panel, (dataset, name, points) in zip(panels, places, strict=True):
        where = f"{widths.dataset_shown(dataset)}, " if len(subject.datasets) > 1 else ""
        panel.set_title(where + widths.shown(name))
        _panel(panel, looks, points)
        panel.set_ylabel(f"{subject.metric(metric).title}, {subject.metric(metric).direction}")
    perfect = any(np.isfinite(p.perfect) for _, _, points in places for some in points.values() for p in some)
    legends.legend(figure, (), more=looks | ({"perfect network": PERFECT} if perfect else {}))
    caption = sentences(
        f"{subject.metric(metric).title} against the evaluations of the network for an image;",
        "colours and markers are solvers, dashes are time grids;",
        f"{settings[0].weights if settings[0].weights != 'ema' else 'EMA'} weights, guidance {settings[0].cfg:g};",
        f"{subject.averaged(INTERVALS)}.",
        "Thin, without markers: what the steps leave to a perfect network." if perfect else "",
        f"Not shown: {', '.join(unknown)}, whose plugin is not there to count evaluations."
        if unknown
        else "",
        subject.recipes(metric),
    )
    return Drawn("evaluations", "Quality against evaluations of the network", caption, figure)


def comparable(settings: Sequence[ControlSetting]) -> tuple[list[ControlSetting], list[str]]:
    """The settings of one guidance and one kind of weights, EMA if there are any: of the guidance with most solvers and
    grids, of equals that with most settings, then nearest to 5. Also the solvers that are not there."""
    weights = min((s.weights for s in settings), key=lambda w: w != "ema")
    some = [s for s in settings if s.weights == weights]
    unknown = sorted({s.solver for s in some if not s.known})
    some = [s for s in some if s.known]
    by_cfg = {s.cfg: [t for t in some if t.cfg == s.cfg] for s in some}
    if not by_cfg:
        return [], unknown
    chosen = min(by_cfg, key=lambda c: (-len({s.way for s in by_cfg[c]}), -len(by_cfg[c]), abs(c - 5)))
    return sorted(by_cfg[chosen], key=lambda s: (s.way, s.evaluations)), unknown


def found(
    subject: Subject, metric: str, dataset: str, name: str, settings: Sequence[ControlSetting]
) -> dict[str, list[Point]]:
    """The points of a formulation, by method and evaluations."""
    left = _left(subject, dataset, name) if metric == "fid" else {}
    points: dict[str, list[Point]] = {}
    for setting in settings:
        seeds = subject.by_seed(metric, dataset, setting)
        if name in seeds.mean.index:
            key = (setting.steps, setting.cfg, setting.solver, setting.grid)
            perfect = left.get(key, np.nan) if setting.usual else np.nan
            point = Point(setting.evaluations, float(seeds.mean[name]), float(seeds.half[name]), perfect)
            points.setdefault(setting.way, []).append(point)
    return points


def _left(subject: Subject, dataset: str, name: str) -> Mapping[tuple[object, ...], float]:
    """What settings leave to a perfect network of a formulation."""
    left: pd.DataFrame | None
    try:
        left = ideal_columns.left(subject.run)
    except UserError:
        left = None
    if left is None:
        return {}
    own = left[(left["dataset"] == dataset) & (left["formulation"] == name)]
    keys = own[["steps", "cfg", "solver", "grid"]].itertuples(index=False, name=None)
    return dict(zip(keys, own["fid"], strict=True))


def looks_of(methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The looks of methods: colour and marker by the solver, dashes by what follows it, such as the grid. More of these than
    there are dashes have white markers, too."""
    parts = {name: name.partition(":")[::2] for name in methods}
    solvers, rest = (sorted({part[i] for part in parts.values()}) for i in (0, 1))
    return {name: _look(solvers.index(solver), rest.index(way)) for name, (solver, way) in parts.items()}


def _look(solver: int, way: int) -> dict[str, Any]:
    more: dict[str, Any] = {"linestyle": LINES[way % len(LINES)]}
    if way >= len(LINES):
        more["markerfacecolor"] = "white"
    return style.line(HUES[solver % len(HUES)], marker=MARKERS[solver % len(MARKERS)], **more)


def _panel(
    panel: Axes, looks: Mapping[str, Mapping[str, Any]], points: Mapping[str, Sequence[Point]]
) -> None:
    """Lines are set off sideways a little, so that equal ones are all seen."""
    for place, (name, own) in enumerate(looks.items()):
        some = points.get(name, ())
        x, mean, half, perfect = (
            np.array([getattr(p, f) for p in some], dtype=np.float64)
            for f in ("evaluations", "mean", "half", "perfect")
        )
        x = x * np.exp(ASIDE * (place - (len(looks) - 1) / 2))
        if np.isfinite(half).any():
            panel.errorbar(x, mean, half, ecolor=own["color"], elinewidth=0.7, alpha=0.75, fmt="none")
        panel.plot(x, mean, **own)
        if np.isfinite(perfect).any():
            panel.plot(x, perfect, **{**own, **PERFECT, "color": own["color"]})
    values = np.array(list(_values(points)))
    panel.set_xlabel("evaluations of the network")
    aside = np.exp(np.array([-1, 1]) * ASIDE * len(looks) / 2)
    counts = np.outer([p.evaluations for some in points.values() for p in some], aside)
    panel.set_xlim(*scales.spread(counts.ravel(), True))
    scales.log_axis(panel.xaxis)
    if scales.wide_range(values):
        panel.set_ylim(*scales.spread(values, True))
        scales.log_axis(panel.yaxis)


def _values(points: Mapping[str, Sequence[Point]]) -> Iterator[float]:
    for some in points.values():
        for p in some:
            half = p.half if np.isfinite(p.half) else 0.0
            yield from (p.mean, p.mean - half, p.mean + half, p.perfect)
