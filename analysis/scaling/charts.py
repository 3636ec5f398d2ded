"""The figures of a scaling experiment: loss against compute with its law, against size and length, quality against loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.plots import scales, style, widths
from analysis.plots.captions import sentences
from analysis.plots.style import Drawn
from analysis.scaling.numbers import power, span
from analysis.scaling.scaling_tables import Scaling
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
    runs, curve, axis = found.runs, found.frontier, found.runs.compute
    figure = style.figure(min(width, widths.COLUMN * 1.25), widths.COLUMN)
    panel = figure.subplots()
    fitted = ""
    if (law := curve.law) is not None:
        x = np.geomspace(axis[curve.on].min(), axis[curve.on].max(), 200)
        if (band := curve.band(x)) is not None:
            panel.fill_between(x, *band, color=MUTED, alpha=0.3, linewidth=0, zorder=1)
        panel.plot(x, law(x), color=INK, linestyle=(0, (4, 2)), linewidth=0.9, zorder=3, label="law")
        fitted = (
            f"Dashed: L = {law.e:.3f} + {law.a:.3f} (C / {power(law.x0)})^-{law.alpha:.3f}, fitted to the ringed runs"
            + (" (band: 95 % over seeds)." if band is not None else ".")
        )
    ring: dict[str, Any] = {"marker": "o", "markersize": 7.5, "fillstyle": "none", "markeredgewidth": 0.7}
    ring |= {"color": MUTED, "linestyle": "none", "zorder": 2, "label": "frontier"}
    panel.plot(axis[curve.on], _ends(found, "val_loss")[0][curve.on], **ring)
    _lines(panel, found, axis, runs.depth, "depth {}")
    panel.set_xlabel("training compute, FLOPs")
    _legend(figure, panel, 4 if width > widths.COLUMN else 3)
    about = f"Validation loss of {runs.formulation} on {runs.dataset} against the operations of a training, by depth"
    warnings = map(_sentence, curve.warnings) if law is not None else ()
    return Drawn("scaling_compute", "Loss against compute", _caption(found, about, fitted, *warnings), figure)


def sizes(found: Scaling, width: float) -> Drawn:
    """Validation loss against parameters and against training steps, whichever there are several of."""
    runs = found.runs
    views = {
        "parameters": (runs.parameters, runs.steps, "{} steps"),
        "training steps": (runs.steps.astype(np.float64), runs.depth, "depth {}"),
    }
    views = {label: view for label, view in views.items() if len(np.unique(view[0])) > 1}
    figure, panels = _panels(len(views), widths.across(width), width, widths.COLUMN * 0.85)
    for panel, (label, view) in zip(panels, views.items(), strict=True):
        _lines(panel, found, *view)
        panel.set_xlabel(label)
        panel.legend(loc="center left", bbox_to_anchor=(1, 0.5), handlelength=1.6)
    words = " and ".join(views)
    about = f"Validation loss of {runs.formulation} on {runs.dataset} against {words}"
    return Drawn("scaling_sizes", f"Loss against {words}", _caption(found, about), figure)


def quality(found: Scaling, width: float) -> Drawn:
    """CLIP, FID and composition against validation loss, one marker for each run."""
    runs, loss = found.runs, _ends(found, "val_loss")[0]
    metrics = [m for m in found.means if m != "val_loss"]
    across = 3 if width > widths.COLUMN and len(metrics) > 1 else widths.across(width)
    figure, panels = _panels(len(metrics), across, width, widths.COLUMN * 0.75)
    for panel, metric in zip(panels, metrics, strict=True):
        values = _ends(found, metric)
        for depth, look in _looks(runs.depth).items():
            here = runs.depth == depth
            _bars(panel, loss[here], values[:, here], look["color"])
            panel.plot(loss[here], values[0, here], label=f"depth {depth}", linestyle="none", **look)
        panel.set_xlim(*scales.spread(loss, log=True))
        scales.log_axis(panel.xaxis)
        panel.set_xlabel("validation loss")
        panel.set_ylabel(f"{found.metrics[metric].label}, {found.metrics[metric].direction}")
    _legend(figure, panels[0], 4 * min(len(metrics), across), 0.2)
    about = (
        f"Quality of the pictures against validation loss, over runs of {runs.formulation} on {runs.dataset}"
    )
    rows = [r for r in found.correlations.to_dict("records") if np.isfinite(r["spearman"])]
    each = ", ".join(f"{found.metrics[r['metric']].label} {span(r, 'spearman', 2)}" for r in rows)
    spearman = f"Spearman's correlation with the loss: {each}." if each else ""
    return Drawn("scaling_quality", "Quality against loss", _caption(found, about, spearman), figure)


def _panels(number: int, across: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of panels of a height in inches, so many ``across`` a width."""
    rows, columns = -(-number // across), min(number, across)
    figure = style.figure(width * columns / across, height * rows)
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _caption(found: Scaling, about: str, *parts: str) -> str:
    seeds = count(len(found.runs.seeds), "seed")
    over = f"; means over {seeds}, bars 95 % over seeds" if found.drawn else f" ({seeds}, no intervals)"
    return sentences(f"{about}{over}.", *parts, *map(_sentence, found.runs.notes))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _ends(found: Scaling, metric: str) -> Array:
    """A metric's means and the ends of their intervals, ``[3, R]``."""
    return found.table[[f"{metric}{end}" for end in ("", "_low", "_high")]].to_numpy(dtype=np.float64).T


def _looks(groups: NDArray[np.int64]) -> dict[int, dict[str, Any]]:
    """The colour and the marker of each group."""
    from matplotlib import colormaps

    values = [int(value) for value in np.unique(groups)]
    shades = colormaps["viridis"](np.linspace(*SHADES, len(values)))
    return {
        value: {"color": shade, "marker": MARKERS[i % len(MARKERS)]}
        for i, (value, shade) in enumerate(zip(values, shades, strict=True))
    }


def _lines(panel: Axes, found: Scaling, x: Array, groups: NDArray[np.int64], name: str) -> None:
    """Losses at ``x``, a line for each group, on logarithmic axes around them and their intervals."""
    from matplotlib.ticker import FuncFormatter

    losses = _ends(found, "val_loss")
    for value, look in _looks(groups).items():
        here = np.flatnonzero(groups == value)
        here = here[np.argsort(x[here], kind="stable")]
        _bars(panel, x[here], losses[:, here], look["color"])
        panel.plot(x[here], losses[0, here], zorder=4, label=name.format(value), **look)
    panel.set_xlim(*scales.spread(x, log=True))
    panel.set_ylim(*scales.spread(losses, log=True))
    scales.log_axis(panel.xaxis)
    scales.log_axis(panel.yaxis)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: power(value)))
    panel.set_ylabel(LOSS)


def _bars(panel: Axes, x: Array, values: Array, shade: Any) -> None:
    """The intervals of ``values`` ``[3, R]``, where they are known."""
    _, low, high = values
    known = np.isfinite(low)
    panel.vlines(x[known], low[known], high[known], color=shade, linewidth=0.6, alpha=0.6, zorder=2)


def _legend(figure: Figure, panel: Axes, columns: int, gap: float = 0.4) -> None:
    """Name the markers and lines of a panel, below."""
    look: dict[str, Any] = {"handletextpad": gap, "columnspacing": 1.0, "ncols": columns}
    figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center", **look)
