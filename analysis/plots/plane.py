"""The metric plane: CLIP score against FID at one control setting, with its Pareto fronts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.plots import legends, scales, style, widths
from analysis.plots.labels import Label, place
from analysis.plots.style import Drawn
from analysis.plots.subject import INTERVALS, Seeds, Setting, Subject, Undrawable, merged, sentences
from analysis.stats.pareto import fronts
from analysis.tables.wording import count
from formulations.colours import MUTED, colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
NUMBERED = 10
"""Fronts that have a number."""


def draw(subject: Subject) -> Drawn:
    """One panel for each dataset. FID is on a logarithmic axis where it spans more than a factor of 3."""
    setting = subject.usual()
    found = {d: _points(subject, d, setting) for d in subject.datasets}
    found = {d: (points, half, lost) for d, (points, half, lost) in found.items() if len(points)}
    if not found:
        raise Undrawable(f"no formulation has both a CLIP score and FID at {setting}")
    names = list(dict.fromkeys(name for points, _, _ in found.values() for name in points.index))
    lit = subject.highlighted(names)
    figure, lost = _figure(found, lit, subject.width, beside=True)
    if any(label.text in lit for label in lost):
        figure, lost = _figure(found, lit, subject.width, beside=False)
    caption = _caption(subject, found, setting, lit, names, len(lost))
    return Drawn("plane", f"Metric plane at {setting}", caption, figure)


def _figure(
    found: dict[str, Any], lit: Sequence[str], width: float, beside: bool
) -> tuple[Figure, list[Label]]:
    """The figure with names beside their points or in a legend, and the labels for which there is no room."""
    columns = min(len(found), widths.across(width))
    rows = -(-len(found) // columns)
    height = 2.9 if width / columns < widths.COLUMN * 1.5 else 3.9
    figure = style.figure(width, height * rows + (0.1 if beside else legends.legend_height(width, len(lit))))
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel in panels[len(found) :]:
        panel.remove()
    for panel, (points, half, _) in zip(panels, found.values(), strict=False):
        _panel(panel, points, half, lit)
    scales.dataset_titles(panels, list(found))
    if not beside:
        legends.legend(figure, lit, lines=False)
    style.settle(figure)
    lost = []
    for panel, (points, half, _) in zip(panels, found.values(), strict=False):
        lost += _labels(panel, points, half, lit, beside)
    return figure, lost


def _points(subject: Subject, dataset: str, setting: Setting) -> tuple[Any, Any, dict[str, str]]:
    """Means ``[F, 2]`` of FID and CLIP, half of their intervals over seeds, and who has none."""
    parts: dict[str, Seeds] = {m: subject.by_seed(m, dataset, setting) for m in ("fid", "clip")}
    fid, clip = parts["fid"], parts["clip"]
    names = [name for name in fid.table.index if name in clip.table.index]
    columns = {"fid": fid.mean, "clip": clip.mean}, {"fid": fid.half, "clip": clip.half}
    frames = [type(fid.table)(values).reindex(names) for values in columns]
    return frames[0], frames[1], {**fid.lost, **clip.lost}


def front_lines(points: Array) -> list[Array]:
    """The fronts of points ``[N, 2]`` (FID, CLIP), best first, each ``[K, 2]`` in order of FID."""
    index = fronts(points, [False, True])
    members = [points[index == front] for front in range(1, int(index.max()) + 1)]
    return [m[np.lexsort((m[:, 1], m[:, 0]))] for m in members]


def _stairs(front: Array) -> Array:
    """The edge of what a front dominates, from its first point to its last."""
    between = np.stack([front[1:, 0], front[:-1, 1]], axis=1)
    path = np.empty((2 * len(front) - 1, 2))
    path[::2], path[1::2] = front, between
    return path


def _panel(panel: Axes, points: Any, half: Any, lit: Sequence[str]) -> None:
    for i, front in enumerate(front_lines(points.to_numpy()), start=1):
        path = _stairs(front)
        panel.plot(
            path[:, 0], path[:, 1], color=MUTED, linewidth=0.7, alpha=0.8, zorder=1, label=f"front {i}"
        )
    for name, (fid, clip) in zip(points.index, points.to_numpy(), strict=True):
        bars = half.loc[name]
        if name in lit and np.isfinite(bars["fid"]):
            look: dict[str, Any] = {"ecolor": colour(name), "elinewidth": 0.7, "alpha": 0.75, "zorder": 2}
            panel.errorbar(fid, clip, xerr=bars["fid"], yerr=bars["clip"], fmt="none", **look)
        panel.plot([fid], [clip], **style.dot(name, 4.6 if name in lit else 2.6, zorder=3 + (name in lit)))
    _axes(panel, points, half)


def _axes(panel: Axes, points: Any, half: Any) -> None:
    fid, clip = points["fid"].to_numpy(), points["clip"].to_numpy()
    reach = {m: np.nan_to_num(half[m].to_numpy()) for m in ("fid", "clip")}
    log = scales.wide_range(fid)
    ends = np.concatenate([fid, (fid + reach["fid"]), np.where(fid > reach["fid"], fid - reach["fid"], fid)])
    panel.set_xlim(*scales.spread(ends, log, 0.08))
    panel.set_ylim(*scales.spread(np.concatenate([clip - reach["clip"], clip + reach["clip"]]), False, 0.08))
    if log:
        scales.log_axis(panel.xaxis)
    panel.set_xlabel("← FID, lower is better" + (" (log scale)" if log else ""))
    panel.set_ylabel("CLIP score, higher is better →")


def _labels(panel: Axes, points: Any, half: Any, lit: Sequence[str], names: bool) -> list[Label]:
    """Write names of the highlighted points, if wanted, and numbers of the first fronts; returns those without room."""
    at = points.to_numpy()
    paths = [_stairs(front) for front in front_lines(at)]
    there = [name for name in lit if name in points.index]
    wanted = [Label(name, (tuple(points.loc[name]),)) for name in there if names]
    for i, path in enumerate(paths[:NUMBERED], start=1):
        middles = (path[1:] + path[:-1]) / 2
        wanted.append(Label(str(i), tuple(tuple(p) for p in (*middles, *path[[-1, 0]])), ring=True, reach=18))
    bars = [bar for name in there for bar in _bars(points.loc[name], half.loc[name])]
    return place(panel, wanted, at, [*paths, *bars])


def _bars(point: Any, reach: Any) -> list[Array]:
    """The two error bars of a point, ``[2, 2]``."""
    (x, y), (dx, dy) = point.to_numpy(), np.nan_to_num(reach.to_numpy())
    return [np.array([[x - dx, y], [x + dx, y]]), np.array([[x, y - dy], [x, y + dy]])]


def _caption(
    subject: Subject,
    found: dict[str, Any],
    setting: Setting,
    lit: Sequence[str],
    names: Sequence[str],
    lost: int,
) -> str:
    fronts_there = max(len(front_lines(points.to_numpy())) for points, _, _ in found.values())
    return sentences(
        f"CLIP score against FID of {count(len(names), 'formulation')} on {' and '.join(found)} at {setting};",
        f"{subject.seeds_told(INTERVALS)}.",
        "Lines join the Pareto fronts of the points shown, numbered from the best.",
        f"Fronts after the {NUMBERED}th have no number." if fronts_there > NUMBERED else "",
        f"There was no room for {count(lost, 'number')}." if lost else "",
        f"Large and named: the {len(lit)} formulations that rank best or are baselines."
        if len(lit) < len(names)
        else "",
        subject.recipes("clip", "fid"),
        subject.not_shown(found, "both at this setting in every seed"),
        subject.left_out(merged({dataset: lost for dataset, (_, _, lost) in found.items()})),
    )
