"""The figures of a scaling experiment: loss against compute with its law, against size and length, quality against loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.plots import scales, style, widths
from analysis.plots.style import Drawn
from analysis.scaling.report import Scaling
from analysis.scaling.wording import power, span
from analysis.stats.association import Array
from analysis.tables.wording import count
from formulations.colours import INK, MARKERS, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHADES = (0.22, 0.82)
"""The part of viridis that is used: its lightness rises with depth, and all of it shows on white and on black."""
LOSS = "validation loss, lower is better"


def draw(found: Scaling, width: float = widths.PAGE) -> list[Drawn]:
    """All figures that the runs allow, to be printed at a width in inches."""
    with style.styled():
        drawn = [compute(found, width)]
        drawn += [sizes(found, width)] if len(found.runs.table) > 2 else []
        drawn += [quality(found, width)] if len(found.means) > 1 else []
    return drawn


def compute(found: Scaling, width: float) -> Drawn:
    """Validation loss against compute: a line for each depth, and the law of the frontier with its band."""
    runs, curve = found.runs, found.frontier
    figure = style.figure(min(width, widths.COLUMN * 1.25), widths.COLUMN)
    panel = figure.subplots()
    loss, ends = _ends(found, "val_loss")
    axis = runs.compute
    parts = []
    if curve.law is not None:
        x = np.geomspace(axis[curve.on].min(), axis[curve.on].max(), 200)
        band = curve.band(x)
        if band is not None:
            panel.fill_between(x, *band, color=MUTED, alpha=0.3, linewidth=0, zorder=1)
        panel.plot(x, curve.law(x), color=INK, linestyle=(0, (4, 2)), linewidth=0.9, zorder=3, label="law")
        law = curve.law
        parts.append(
            f"Dashed: L = {law.e:.3f} + {law.a:.3f} (C / {power(law.x0)})^-{law.alpha:.3f}, fitted to the ringed runs"
            + (" (band: 95 % over seeds)." if band is not None else ".")
        )
        parts += [f"{warning[:1].upper()}{warning[1:]}." for warning in curve.warnings]
    ring: dict[str, Any] = {"marker": "o", "markersize": 7.5, "fillstyle": "none", "markeredgewidth": 0.7}
    panel.plot(
        axis[curve.on], loss[curve.on], color=MUTED, linestyle="none", zorder=2, label="frontier", **ring
    )
    _lines(panel, axis, loss, ends, runs.depth, "depth")
    _log_axes(panel, axis, loss, ends)
    panel.set_xlabel("training compute, FLOPs")
    panel.set_ylabel(LOSS)
    _legend(figure, panel, 4 if width > widths.COLUMN else 3)
    about = f"Validation loss of {runs.formulation} on {runs.dataset} against the operations of a training, by depth"
    return Drawn("scaling_compute", "Loss against compute", _caption(found, about, *parts), figure)


def sizes(found: Scaling, width: float) -> Drawn:
    """Validation loss against parameters and against training steps, whichever there are several of."""
    runs = found.runs
    views = [
        (x, groups, word, label)
        for x, groups, word, label in (
            (runs.parameters, runs.steps, "steps", "parameters"),
            (runs.steps.astype(np.float64), runs.depth, "depth", "training steps"),
        )
        if len(np.unique(x)) > 1
    ]
    figure, panels = _panels(len(views), widths.across(width), width, widths.COLUMN * 0.85)
    loss, ends = _ends(found, "val_loss")
    for panel, (x, groups, word, label) in zip(panels, views, strict=True):
        _lines(panel, x, loss, ends, groups, word)
        _log_axes(panel, x, loss, ends)
        panel.set_xlabel(label)
        panel.set_ylabel(LOSS)
        panel.legend(loc="center left", bbox_to_anchor=(1, 0.5), handlelength=1.6)
    words = " and ".join(label for *_, label in views)
    about = f"Validation loss of {runs.formulation} on {runs.dataset} against {words}"
    return Drawn("scaling_sizes", f"Loss against {words}", _caption(found, about), figure)


def quality(found: Scaling, width: float) -> Drawn:
    """CLIP, FID and composition against validation loss, one marker for each run."""
    runs = found.runs
    metrics = [m for m in found.means if m != "val_loss"]
    across = 3 if width > widths.COLUMN and len(metrics) > 1 else widths.across(width)
    figure, panels = _panels(len(metrics), across, width, widths.COLUMN * 0.75)
    loss, _ = _ends(found, "val_loss")
    depths = np.unique(runs.depth)
    colours = _shades(len(depths))
    for panel, metric in zip(panels, metrics, strict=True):
        values, ends = _ends(found, metric)
        for i, depth in enumerate(depths):
            here = runs.depth == depth
            _bars(panel, loss[here], [e[here] for e in ends], colours[i])
            look: dict[str, Any] = {
                "marker": MARKERS[i % len(MARKERS)],
                "color": colours[i],
                "linestyle": "none",
            }
            panel.plot(loss[here], values[here], label=f"depth {depth}", **look)
        panel.set_xlim(*scales.spread(loss, log=True))
        scales.log_axis(panel.xaxis)
        panel.set_xlabel("validation loss")
        panel.set_ylabel(f"{found.metrics[metric].label}, {found.metrics[metric].direction}")
    handles, names = panels[0].get_legend_handles_labels()
    columns = 4 * min(len(metrics), across)
    figure.legend(
        handles, names, loc="outside lower center", ncols=columns, handletextpad=0.2, columnspacing=1.0
    )
    about = (
        f"Quality of the pictures against validation loss, over runs of {runs.formulation} on {runs.dataset}"
    )
    rows = [r for r in found.correlations.to_dict("records") if np.isfinite(r["spearman"])]
    told = ", ".join(f"{found.metrics[r['metric']].label} {span(r, 'spearman', 2)}" for r in rows)
    return Drawn(
        "scaling_quality",
        "Quality against loss",
        _caption(found, about, f"Spearman's correlation with the loss: {told}." if told else ""),
        figure,
    )


def _panels(number: int, across: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of panels of a height in inches, of which so many stand ``across`` a width."""
    rows, columns = -(-number // across), min(number, across)
    figure = style.figure(width * columns / across, height * rows)
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _caption(found: Scaling, about: str, *parts: str) -> str:
    seeds = count(len(found.runs.seeds), "seed")
    over = f"; means over {seeds}, bars 95 % over seeds" if found.drawn else f" ({seeds}, no intervals)"
    return " ".join(
        part
        for part in (f"{about}{over}.", *parts, *(f"{n[0].upper()}{n[1:]}." for n in found.runs.notes))
        if part
    )


def _ends(found: Scaling, metric: str) -> tuple[Array, list[Array]]:
    """A metric's means and the ends of their intervals, ``[R]`` each."""
    value, low, high = (
        found.table[f"{metric}{end}"].to_numpy(dtype=np.float64) for end in ("", "_low", "_high")
    )
    return value, [low, high]


def _shades(number: int) -> list[Any]:
    from matplotlib import colormaps

    at = np.linspace(*SHADES, number) if number > 1 else np.array([SHADES[0]])
    return [colormaps["viridis"](v) for v in at]


def _lines(panel: Axes, x: Array, y: Array, ends: Sequence[Array], groups: Any, word: str) -> None:
    """A line for each group."""
    values = np.unique(groups)
    for i, (value, shade) in enumerate(zip(values, _shades(len(values)), strict=True)):
        here = np.flatnonzero(groups == value)
        here = here[np.argsort(x[here], kind="stable")]
        _bars(panel, x[here], [e[here] for e in ends], shade)
        name = f"depth {value}" if word == "depth" else f"{value} {word}"
        panel.plot(x[here], y[here], color=shade, marker=MARKERS[i % len(MARKERS)], zorder=4, label=name)


def _bars(panel: Axes, x: Array, ends: Sequence[Array], shade: Any) -> None:
    known = np.isfinite(ends[0])
    panel.vlines(x[known], ends[0][known], ends[1][known], color=shade, linewidth=0.6, alpha=0.6, zorder=2)


def _log_axes(panel: Axes, x: Array, y: Array, ends: Sequence[Array]) -> None:
    """Logarithmic axes around the points and their intervals."""
    from matplotlib.ticker import FuncFormatter

    panel.set_xlim(*scales.spread(x, log=True))
    panel.set_ylim(*scales.spread(np.concatenate([y, *ends]), log=True))
    scales.log_axis(panel.xaxis)
    scales.log_axis(panel.yaxis)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: power(value)))


def _legend(figure: Figure, panel: Axes, columns: int) -> None:
    """What the markers and lines of a panel are, below."""
    handles, names = panel.get_legend_handles_labels()
    look: dict[str, Any] = {"handletextpad": 0.4, "columnspacing": 1.0}
    figure.legend(handles, names, loc="outside lower center", ncols=columns, **look)
