"""The metric plane: CLIP score against FID at one control setting, with its Pareto fronts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.plots import legends, lines, scales, style
from analysis.plots.captions import INTERVALS, sentences
from analysis.plots.placement import Label, place
from analysis.plots.style import Drawn
from analysis.plots.subject import Part, Shown, Subject, Undrawable, usual
from analysis.stats.pareto import fronts
from analysis.tables.wording import count
from bench.config.sampling_settings import ControlSetting
from flowbench._core.lazy import lazy
from formulations.colours import MUTED

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
else:
    pd = lazy("pandas")

Array = NDArray[np.float64]
NUMBERED = 10
"""Fronts that have a number."""


def draw(subject: Subject) -> Drawn:
    """One panel for each dataset. FID is on a logarithmic axis where it spans more than a factor of 3."""
    setting = usual(subject.settings)
    parts = subject.parts(lambda dataset: _part(subject, dataset, setting))
    if not parts:
        raise Undrawable(f"no formulation has both a CLIP score and FID at {setting}")
    shown = Shown(subject, parts)
    figure, lost = _figure(shown, alongside=True)
    if any(label.text in shown.lit for label in lost):
        figure, lost = _figure(shown, alongside=False)
    most = max(len(front_lines(part.table.to_numpy())) for part in parts)
    caption = sentences(
        f"CLIP score against FID of {shown.named()} at {setting};",
        f"{subject.averaged(INTERVALS)}.",
        "Lines join the Pareto fronts of the points shown, numbered from the best.",
        f"Fronts after the {NUMBERED}th have no number." if most > NUMBERED else "",
        f"There was no room for {count(len(lost), 'number')}." if lost else "",
        f"Large and named: the {len(shown.lit)} formulations that rank best or are baselines."
        if shown.others
        else "",
        subject.recipes("clip", "fid"),
        shown.not_shown("both at this setting in every seed"),
        shown.left_out(),
    )
    return Drawn("plane", f"Metric plane at {setting}", caption, figure)


def _figure(shown: Shown, alongside: bool) -> tuple[Figure, list[Label]]:
    """The figure with names next to their points or in a legend, and the labels for which there is no room."""
    width = shown.subject.width
    below = 0.1 if alongside else legends.legend_height(width, len(shown.lit))
    figure, panels = lines.grid(len(shown.parts), width, (2.9, 3.9), below)
    for panel, part in zip(panels, shown.parts, strict=True):
        _panel(panel, part, shown.lit)
    lines.titles(panels, shown.datasets)
    if not alongside:
        legends.legend(figure, shown.lit, lines=False)
    style.settle(figure)
    lost = []
    for panel, part in zip(panels, shown.parts, strict=True):
        lost += _labels(panel, part, shown.lit, alongside)
    return figure, lost


def _part(subject: Subject, dataset: str, setting: ControlSetting) -> Part:
    """Means ``[F, 2]`` of FID and CLIP, and half of their intervals over seeds."""
    seeds = {metric: subject.by_seed(metric, dataset, setting) for metric in ("fid", "clip")}
    fid, clip = seeds.values()
    names = [name for name in fid.table.index if name in clip.table.index]
    means = pd.DataFrame({metric: found.mean for metric, found in seeds.items()}).reindex(names)
    half = pd.DataFrame({metric: found.half for metric, found in seeds.items()}).reindex(names)
    return Part(dataset, means, {**fid.lost, **clip.lost}, half)


def front_lines(points: Array) -> list[Array]:
    """The fronts of points ``[N, 2]`` (FID, CLIP), best first, each ``[K, 2]`` in order of FID."""
    index = fronts(points, [False, True])
    members = [points[index == front] for front in range(1, int(index.max()) + 1)]
    return [m[np.lexsort((m[:, 1], m[:, 0]))] for m in members]


def _stairs(points: Array) -> list[Array]:
    """The edge of what each front dominates, from its first point to its last."""
    found = []
    for front in front_lines(points):
        path = np.repeat(front, 2, axis=0)[:-1]
        path[1::2, 0] = front[1:, 0]
        found.append(path)
    return found


def _panel(panel: Axes, part: Part, lit: list[str]) -> None:
    for i, path in enumerate(_stairs(part.table.to_numpy()), start=1):
        panel.plot(*path.T, color=MUTED, linewidth=0.7, alpha=0.8, zorder=1, label=f"front {i}")
    ends = []
    for name, fid, clip, dx, dy in _rows(part):
        if name in lit and np.isfinite(dx):
            panel.errorbar(fid, clip, xerr=dx, yerr=dy, **style.bars(name))
        panel.plot([fid], [clip], **style.dot(name, 4.6 if name in lit else 2.6, zorder=3 + (name in lit)))
        dx, dy = np.nan_to_num([dx, dy])
        ends += [(fid + dx, clip + dy), (fid - dx if fid > dx else fid, clip - dy)]
    x, y = np.transpose(ends)
    log = scales.wide_range(part.table["fid"])
    panel.set_xlim(*scales.spread(x, log, 0.08))
    panel.set_ylim(*scales.spread(y, False, 0.08))
    if log:
        scales.log_axis(panel.xaxis)
    panel.set_xlabel("← FID, lower is better" + (" (log scale)" if log else ""))
    panel.set_ylabel("CLIP score, higher is better →")


def _rows(part: Part) -> list[tuple[Any, ...]]:
    """The name, FID and CLIP of each point, and half of its bars."""
    return list(pd.concat([part.table, part.half], axis=1).itertuples(name=None))


def _labels(panel: Axes, part: Part, lit: list[str], names: bool) -> list[Label]:
    """Write names of the highlighted points, if wanted, and numbers of the first fronts; returns those without room."""
    paths, points = _stairs(part.table.to_numpy()), {name: rest for name, *rest in _rows(part)}
    there = [name for name in lit if name in points]
    wanted = [Label(name, (tuple(points[name][:2]),)) for name in there if names]
    for i, path in enumerate(paths[:NUMBERED], start=1):
        middles = (path[1:] + path[:-1]) / 2
        wanted.append(Label(str(i), tuple(tuple(p) for p in (*middles, *path[[-1, 0]])), ring=True, reach=18))
    bars = []
    for x, y, dx, dy in (np.nan_to_num(points[name]) for name in there):
        bars += [np.array([[x - dx, y], [x + dx, y]]), np.array([[x, y - dy], [x, y + dy]])]
    return place(panel, wanted, part.table.to_numpy(), [*paths, *bars])
