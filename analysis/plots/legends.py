"""Legends under the panels of a figure, in as many columns as fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from analysis.plots.style import OTHERS, SMALL, dot, line
from analysis.plots.widths import shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D


@cache
def text_width(text: str, size: float = SMALL) -> float:
    """Points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if not text.strip():
        return 0.0
    font = FontProperties(family="DejaVu Sans")
    return float(TextPath((0, 0), text, size=size, prop=font, usetex=False).get_extents().x1)


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
