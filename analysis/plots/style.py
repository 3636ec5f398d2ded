"""How figures look, and how they become files whose bytes depend on the figure only: sizes, fonts, axes, legends."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.private import without_paths
from formulations.colours import INK, MUTED, SIZES, colour, linestyle, marker

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

COLUMN, PAGE = 3.3, 6.9
"""Widths of a column and of a page of a paper, inches: figures are made to be printed at their size."""
WIDTHS = {"column": COLUMN, "page": PAGE}
TEXT, SMALL = 8.0, 7.0
"""Font sizes, points."""
DPI = 300
"""Of a PNG."""
FORMATS = ("png", "svg", "txt")
"""A picture, a drawing, and the caption."""
LONGEST = 44
"""Characters of a name that are shown; longer ones lose their middle."""
SHORTER = 26
"""The same where names stand beside a figure that is a column wide."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A figure: ``name`` as in ``--only``, ``title`` in a few words, ``caption`` in full sentences."""

    name: str
    title: str
    caption: str
    figure: Figure


def _settings() -> dict[str, Any]:
    ink = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    small = ("xtick.labelsize", "ytick.labelsize", "legend.fontsize")
    return {
        **dict.fromkeys(ink, INK),
        **dict.fromkeys(small, SMALL),
        "font.family": "DejaVu Sans",
        "font.size": TEXT,
        "axes.titlesize": TEXT,
        "axes.labelsize": TEXT,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": False,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "savefig.facecolor": "none",
        "figure.dpi": 100,
        "figure.constrained_layout.h_pad": 0.03,
        "figure.constrained_layout.w_pad": 0.03,
        "legend.frameon": False,
        "lines.linewidth": 1.1,
        "lines.markersize": 3.6,
        "lines.markeredgewidth": 0.0,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "xtick.major.pad": 2.0,
        "ytick.major.pad": 2.0,
        "axes.labelpad": 2.5,
        "axes.titlepad": 4.0,
        "text.parse_math": False,
        "text.hinting": "none",
        "svg.fonttype": "path",
    }


@contextmanager
def styled(**more: Any) -> Iterator[None]:
    """Matplotlib's own defaults and ours, whatever the user has set. Letters that the font lacks are drawn as boxes, which
    the caption tells (`boxes`) instead of a warning for each."""
    from matplotlib import style

    with style.context(["default", {**_settings(), **more}]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
        yield


def boxes(figure: Figure) -> str:
    """A sentence if some letters of a figure are boxes, as its font lacks them."""
    from matplotlib.font_manager import FontProperties, findfont, get_font
    from matplotlib.text import Text

    there = get_font(findfont(FontProperties(family="DejaVu Sans"))).get_charmap()
    written = {letter for text in figure.findobj(Text) for letter in text.get_text()}  # type: ignore[attr-defined]
    lacking = any(ord(letter) not in there for letter in written if not letter.isspace())
    return " Letters that the font lacks are drawn as boxes." if lacking else ""


def figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches, whose parts find their places themselves."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def settle(figure: Figure) -> None:
    """Let the parts of a figure find their places, and keep them there: what is drawn later must not move anything. Twice,
    as the ticks follow the layout.
    """
    if figure.get_layout_engine() is None:
        return
    for _ in range(2):
        figure.draw_without_rendering()
    figure.set_layout_engine("none")


def render(drawn: Drawn, kind: str) -> bytes:
    """A figure as a file of one of `FORMATS`; the same figure gives the same bytes. The PNG has a white ground, the SVG
    none; it keeps its letters as paths, and its ids begin with the figure's name, so that several may stand in one page."""
    if kind == "txt":
        return f"{drawn.title}. {drawn.caption}\n".encode()
    file = io.BytesIO()
    with styled(**{"svg.hashsalt": drawn.name}):
        settle(drawn.figure)
        if kind == "png":
            about = {"Software": None, "Title": drawn.title, "Description": drawn.caption}
            drawn.figure.savefig(file, format="png", dpi=DPI, facecolor="white", metadata=about)
            return file.getvalue()
        empty = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        drawn.figure.savefig(file, format="svg", metadata=empty)
    return _compact(file.getvalue().decode(), drawn).encode()


def _compact(svg: str, drawn: Drawn) -> str:
    """An SVG without comments and empty metadata, with two decimals (1/7200 inch), own ids, a title and a description."""
    from html import escape

    svg = re.sub(r"<!--.*?-->\s*|<metadata>.*?</metadata>\s*|<!DOCTYPE.*?>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(?<= )(d|x|y)="([^"]*)"', lambda m: f'{m[1]}="{_rounded(m[2])}"', svg)
    svg = re.sub(
        r' id="(?:text|line2d|patch|xtick|ytick|figure|axes|matplotlib\.axis|legend|[A-Z]\w+)_\d+"', "", svg
    )
    svg = re.sub(r'( id="|href="#|url\(#)', lambda m: f"{m[1]}{drawn.name}-", svg)
    svg = re.sub(r"\n\s*", "\n", svg)
    about = f"<title>{escape(drawn.title)}</title>\n<desc>{escape(drawn.caption)}</desc>\n"
    return re.sub(r"(<svg[^>]*>\n)", lambda m: m[1] + about, svg, count=1)


def _rounded(value: str) -> str:
    return re.sub(r"-?\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), value)


def shown(name: str, longest: int = LONGEST) -> str:
    """A name as it stands in a figure: on one line, and not too long."""
    name = " ".join(name.split())
    if len(name) <= longest:
        return name
    half = (longest - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def beside(width: float) -> int:
    """Characters of the names that stand beside a figure of a width in inches."""
    return SHORTER if width <= COLUMN else LONGEST


def across(width: float) -> int:
    """Panels that stand side by side in a figure of a width in inches."""
    return 1 if width <= COLUMN else 2


def dataset_shown(dataset: str) -> str:
    """A dataset's name as it stands in a figure, without the folder that its images lie in."""
    return shown(without_paths(dataset))


@cache
def text_width(text: str, size: float = SMALL) -> float:
    """Points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if not text.strip():
        return 0.0
    font = FontProperties(family="DejaVu Sans")
    return float(TextPath((0, 0), text, size=size, prop=font, usetex=False).get_extents().x1)


def line(formulation: str, size: float = 3.4, **more: Any) -> dict[str, Any]:
    """The look of a formulation's line, its markers of a ``size`` in points."""
    shape = marker(formulation)
    look = {
        "color": colour(formulation),
        "linestyle": linestyle(formulation),
        "marker": shape,
        "label": formulation,
    }
    return {**look, "markersize": size * SIZES[shape], "dash_capstyle": "butt", **more}


def dot(formulation: str, size: float = 4.6, **more: Any) -> dict[str, Any]:
    """The look of a formulation's marker where it has no line."""
    return line(formulation, size, linestyle="none", **more)


OTHERS: dict[str, Any] = {"color": MUTED, "linewidth": 0.6, "alpha": 0.4}
"""The look of lines that are not highlighted."""


def legend(
    target: Figure,
    names: Sequence[str],
    others: int = 0,
    lines: bool = True,
    more: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> None:
    """Which line or marker is whose, under the panels, in as many columns as fit; ``more`` lines by their words."""
    from matplotlib.lines import Line2D

    handles: list[Line2D] = []
    for name in names:
        handles.append(Line2D([], [], **(line(name) if lines else dot(name))))
    labels = [shown(name) for name in names]
    if others:
        handles.append(Line2D([], [], **OTHERS))
        labels.append(f"{others} other{'s' if others > 1 else ''}")
    for word, look in more.items():
        handles.append(Line2D([], [], **look))
        labels.append(word)
    if not labels:
        return
    entry = max(text_width(label) for label in labels) + (3.2 if lines else 1.6) * SMALL + 6
    columns = int(max(1, min(len(labels), 72 * target.get_figwidth() // entry)))
    made = target.legend(
        handles,
        [str(i) for i in range(len(labels))],  # matplotlib leaves out labels that begin with _
        loc="outside lower center",
        ncols=columns,
        handlelength=2.6 if lines else 1.0,
        handletextpad=0.5,
        columnspacing=0.9,
        labelspacing=0.3,
        borderpad=0.2,
    )
    for text, label in zip(made.get_texts(), labels, strict=True):
        text.set_text(label)


def legend_height(width: float, entries: int) -> float:
    """Inches that a legend of so many names of the usual length takes."""
    columns = max(1, int(width // 1.6))
    return 0.14 * -(-entries // columns) + 0.05


def thousands(value: float) -> str:
    """``20k`` for 20000, ``1.5M`` for 1500000."""
    for unit, sign in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:g}{sign}"
    return f"{value:g}"


def log_axis(axis: Any) -> None:
    """A logarithmic axis with a few plain numbers; limits must be set before."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    low, high = axis.get_view_interval()
    axis.set_major_locator(FixedLocator(log_ticks(float(low), float(high))))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def log_ticks(low: float, high: float) -> list[float]:
    """Three to eight round numbers in [low, high]; both positive."""
    from matplotlib.ticker import MaxNLocator

    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        begin = int(np.floor(np.log10(low)))
        found = [s * 10.0**e for e in range(begin, int(np.ceil(np.log10(high))) + 1) for s in steps]
        found = [float(f"{v:.6g}") for v in found if low * (1 - 1e-9) <= v <= high * (1 + 1e-9)]
        if len(found) >= 3:
            return found[:: -(-len(found) // 8)]
    ticks = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(f"{v:.10g}") for v in ticks if low <= v <= high and v > 0]


def spread(values: Any, log: bool, share: float = 0.05) -> tuple[float, float]:
    """Limits of an axis around all finite values, with a margin; around a single value, some room."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite) & ((finite > 0) | (not log))]
    ends = np.array([finite.min(), finite.max()])
    if log:
        ends = np.log(ends)
    room = share * (ends[1] - ends[0]) or (0.1 if log else 0.1 * max(abs(ends[0]), 1e-12))
    ends = ends + np.array([-room, room])
    return tuple(float(v) for v in (np.exp(ends) if log else ends))  # type: ignore[return-value]


def wide_range(values: Any, factor: float = 3.0) -> bool:
    """Whether positive values span more than ``factor``, so that a logarithm shows them better."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    return bool(len(finite) and finite.min() > 0 and finite.max() / finite.min() > factor)


def dataset_titles(panels: Sequence[Axes], datasets: Sequence[str]) -> None:
    """A title on each panel where there are several datasets."""
    if len(datasets) > 1:
        for panel, dataset in zip(panels, datasets, strict=False):
            panel.set_title(dataset_shown(dataset))
