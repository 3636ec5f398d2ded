"""Quality against the evaluations of the network that each solver and time grid takes, formulation by formulation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.plots import legends, lines, scales, style, widths
from analysis.plots.captions import INTERVALS, sentences
from analysis.plots.steps import PERFECT
from analysis.plots.style import Drawn
from analysis.plots.subject import Subject, Undrawable
from analysis.ranking import ideal_columns
from bench.config.sampling_settings import ControlSetting
from flowbench._core.errors import UserError
from formulations.colours import FAMILIES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

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
    methods = list(dict.fromkeys(method(s) for s in settings))
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
    below = legends.legend_height(subject.width, len(methods) + 1)
    figure, panels = lines.grid(len(places), subject.width, below=below)
    for panel, (dataset, name, points) in zip(panels, places, strict=True):
        where = f"{widths.dataset_shown(dataset)}, " if len(subject.datasets) > 1 else ""
        panel.set_title(where + widths.shown(name))
        _panel(panel, methods, points)
        panel.set_ylabel(f"{subject.metric(metric).title}, {subject.metric(metric).direction}")
    perfect = any(np.isfinite(p.perfect) for _, _, points in places for some in points.values() for p in some)
    looks = {name: look(place) for place, name in enumerate(methods)}
    legends.legend(figure, (), more=looks | ({"perfect network": PERFECT} if perfect else {}))
    caption = sentences(
        f"{subject.metric(metric).title} against the evaluations of the network for an image, which guidance doubles;",
        f"{settings[0].weights if settings[0].weights != 'ema' else 'EMA'} weights, guidance {settings[0].cfg:g};",
        f"{subject.averaged(INTERVALS)}.",
        "Dashes: what the steps leave to a perfect network." if perfect else "",
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
    unknown = sorted({s.solver for s in some if not counted(s)})
    some = [s for s in some if s.solver not in unknown]
    by_cfg = {s.cfg: [t for t in some if t.cfg == s.cfg] for s in some}
    if not by_cfg:
        return [], unknown
    chosen = min(by_cfg, key=lambda c: (-len({method(s) for s in by_cfg[c]}), -len(by_cfg[c]), abs(c - 5)))
    return sorted(by_cfg[chosen], key=lambda s: (method(s), s.evaluations)), unknown


def counted(setting: ControlSetting) -> bool:
    """Whether the solver is there, to count its evaluations."""
    try:
        return setting.evaluations > 0
    except UserError:
        return False


def method(setting: ControlSetting) -> str:
    """``dpm++2m`` on its formulation's own grid, ``euler, clock`` on another, ``euler, native, guide=0.1-0.7``."""
    parts = setting.key.split(":")[2:]
    return ", ".join(parts if parts and parts[0] == setting.solver else [setting.solver, *parts])


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
            perfect = np.nan if setting.dropped or setting.guided else left.get(key, np.nan)
            point = Point(setting.evaluations, float(seeds.mean[name]), float(seeds.half[name]), perfect)
            points.setdefault(method(setting), []).append(point)
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


def look(place: int) -> dict[str, Any]:
    """The look of a method, that of a family of formulations: these differ in grey, too."""
    return style.line(list(FAMILIES)[place % len(FAMILIES)])


def _panel(panel: Axes, methods: Sequence[str], points: Mapping[str, Sequence[Point]]) -> None:
    """Lines are set off sideways a little, so that equal ones are all seen."""
    for place, name in enumerate(methods):
        some, own = points.get(name, ()), look(place)
        x, mean, half, perfect = (
            np.array([getattr(p, f) for p in some], dtype=np.float64)
            for f in ("evaluations", "mean", "half", "perfect")
        )
        x = x * np.exp(lines.ASIDE * (place / max(len(methods) - 1, 1) - 0.5))
        if np.isfinite(half).any():
            panel.errorbar(x, mean, half, ecolor=own["color"], elinewidth=0.7, alpha=0.75, fmt="none")
        panel.plot(x, mean, **own)
        if np.isfinite(perfect).any():
            panel.plot(x, perfect, **{**PERFECT, "color": own["color"]})
    values = np.array(list(_values(points)))
    panel.set_xlabel("evaluations of the network")
    panel.set_xlim(*scales.spread([p.evaluations for some in points.values() for p in some], True))
    scales.log_axis(panel.xaxis)
    if scales.wide_range(values):
        panel.set_ylim(*scales.spread(values, True))
        scales.log_axis(panel.yaxis)


def _values(points: Mapping[str, Sequence[Point]]) -> Iterator[float]:
    for some in points.values():
        for p in some:
            half = p.half if np.isfinite(p.half) else 0.0
            yield from (p.mean, p.mean - half, p.mean + half, p.perfect)
