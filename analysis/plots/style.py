"""How figures look: fonts (``flowbench.mplstyle``), lines and markers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from formulations.colours import FAMILIES, INK, MUTED, SIZES, colour, linestyle, marker

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SMALL = 7.0
"""Size of labels in a figure, points."""
OTHERS: dict[str, Any] = {"color": MUTED, "linewidth": 0.6, "alpha": 0.4}
"""The look of lines that are not highlighted."""
_INKED = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")


@dataclass(frozen=True, eq=False)
class Drawn:
    """A figure: ``name`` as in ``--only``, ``title`` in a few words, ``caption`` in full sentences."""

    name: str
    title: str
    caption: str
    figure: Figure


@contextmanager
def styled(**more: Any) -> Iterator[None]:
    """Use matplotlib's own defaults and ours, whatever the user has set. Letters that the font lacks are drawn as boxes; the
    caption mentions them (`boxes`) instead of a warning for each."""
    from matplotlib import style

    ours = Path(__file__).with_name("flowbench.mplstyle")
    with (
        style.context(["default", ours, {**dict.fromkeys(_INKED, INK), **more}]),
        warnings.catch_warnings(),
    ):
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
    as the ticks follow the layout."""
    if figure.get_layout_engine() is not None:
        for _ in range(2):
            figure.draw_without_rendering()
        figure.set_layout_engine("none")


def line(formulation: str, size: float = 3.4, **more: Any) -> dict[str, Any]:
    """The look of a formulation's line, its markers of a ``size`` in points."""
    shape = marker(formulation)
    look: dict[str, Any] = {
        "color": colour(formulation),
        "linestyle": linestyle(formulation),
        "marker": shape,
    }
    look |= {"label": formulation, "markersize": size * SIZES[shape], "dash_capstyle": "butt"}
    return look | more


def numbered(place: int) -> dict[str, Any]:
    """The look of one of several lines that are not formulations': a family's, as these differ in grey, too."""
    return line(list(FAMILIES)[place % len(FAMILIES)])


def dot(formulation: str, size: float = 4.6, **more: Any) -> dict[str, Any]:
    """The look of a formulation's marker where it has no line."""
    return line(formulation, size, linestyle="none", **more)


def bars(formulation: str) -> dict[str, Any]:
    """The look of a formulation's error bars."""
    return {"ecolor": colour(formulation), "elinewidth": 0.7, "alpha": 0.75, "zorder": 2, "fmt": "none"}
