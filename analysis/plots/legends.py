"""Legends under the panels of a figure, in as many columns as fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from analysis.plots.style import OTHERS, SMALL, dot, line
from analysis.plots.widths import shown
from analysis.tables.wording import count

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    """Name the line or marker of each formulation under the panels, in as many columns as fit; ``more`` lines by their
    words."""
    from matplotlib.lines import Line2D

    entries = [(shown(name), line(name) if lines else dot(name)) for name in names]
    entries += [(count(others, "other"), OTHERS)] if others else []
    entries += [(word, dict(look)) for word, look in more.items()]
    if not entries:
        return
    entry = max(text_width(label) for label, _ in entries) + (3.2 if lines else 1.6) * SMALL + 6
    made = target.legend(
        [Line2D([], [], **look) for _, look in entries],
        [str(i) for i in range(len(entries))],  # matplotlib leaves out labels that begin with _
        loc="outside lower center",
        ncols=int(max(1, min(len(entries), 72 * target.get_figwidth() // entry))),
        handlelength=2.6 if lines else 1.0,
        handletextpad=0.5,
        columnspacing=0.9,
        labelspacing=0.3,
        borderpad=0.2,
    )
    for text, (label, _) in zip(made.get_texts(), entries, strict=True):
        text.set_text(label)


def legend_height(width: float, entries: int) -> float:
    """Inches that a legend of so many names of the usual length takes."""
    columns = max(1, int(width // 1.6))
    return 0.14 * -(-entries // columns) + 0.05
