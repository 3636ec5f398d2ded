"""Labels beside points that overlap nothing: each in turn takes the best free place around its point, or is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.plots.style import SMALL, settle
from analysis.plots.widths import shown
from formulations.colours import INK, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Label", "place", "settle"]

Array = NDArray[np.float64]
GAPS = (4.0, 6.5, 11.0, 17.0, 24.0)
"""Distances of a label from its point, points."""
LEADER = 10.0
"""From here on a thin line leads to the label."""
ANGLES = np.radians(np.arange(0, 360, 22.5))
PAD = 1.2
"""Free room around a label, points."""


@dataclass(frozen=True)
class Label:
    """``text`` beside one of the places ``at`` ``[K, 2]``, in data coordinates, at most ``reach`` points away; ``ring``
    draws a circle around it."""

    text: str
    at: tuple[tuple[float, float], ...]
    ring: bool = False
    reach: float = 24.0


def place(
    axes: Axes, labels: Sequence[Label], points: Any, lines: Sequence[Any] = (), size: float = 5.0
) -> list[Label]:
    """Write labels, the important ones first, inside the axes of a figure that is settled (`settle`). Returns those that fit
    nowhere.

    ``points`` ``[N, 2]`` are markers of ``size`` (points) that no label may touch; ``lines``, each ``[K, 2]``, should not be
    crossed but may be. Each label takes the free place that is nearest and crosses least; there is none for a point
    outside the axes.
    """
    room = _Room(axes, np.asarray(points, dtype=np.float64).reshape(-1, 2), size, lines)
    return [label for label in labels if not room.write(label)]


class _Room:
    """What is taken within some axes; lengths in points."""

    def __init__(self, axes: Axes, points: Array, size: float, lines: Sequence[Any]) -> None:
        self.axes, self.scale = axes, 72.0 / axes.figure.dpi
        frame = axes.get_window_extent()
        self.frame = np.array([frame.x0, frame.y0, frame.x1, frame.y1]) * self.scale
        at, half = self.seen(points), size / 2
        self.marks = np.concatenate([at - half, at + half], axis=1)
        """Rectangles ``[N, 4]`` of markers: left, bottom, right, top."""
        paths = [_dense(self.seen(np.asarray(line, dtype=np.float64))) for line in lines if len(line) > 1]
        self.inks = np.concatenate([np.empty((0, 2)), *paths])
        self.taken, self.leaders = np.empty((0, 4)), np.empty((0, 2))
        """Rectangles of labels, and points of the lines to them."""

    def seen(self, points: Array) -> Array:
        """Data coordinates as points of the page."""
        return np.asarray(self.axes.transData.transform(points)) * self.scale

    def write(self, label: Label) -> bool:
        """Find the best free place, take it and write there."""
        width, height = self.extent(label)
        best: tuple[Array, Array, float] | None = None
        least = np.inf
        anchors = self.seen(np.asarray(label.at, dtype=np.float64).reshape(-1, 2))
        for rank, anchor in enumerate(anchors[_inside(self.frame[None], anchors)[0]]):
            for ring, gap in enumerate(g for g in GAPS if g <= label.reach):
                boxes = _around(anchor, width, height, gap)
                cost = 1.5 * ring + 0.02 * rank + _PREFERENCE + self.cost(boxes, anchor, gap)
                if cost.min() < least:
                    least, best = float(cost.min()), (boxes[int(cost.argmin())], anchor, gap)
        if best is None:
            return False
        self.draw(label, *best)
        return True

    def extent(self, label: Label) -> tuple[float, float]:
        """Width and height of a label."""
        text = self.axes.text(0, 0, shown(label.text), fontsize=SMALL)
        box = text.get_window_extent()
        text.remove()
        width, height = box.width * self.scale, box.height * self.scale
        return (max(width, height) + 3,) * 2 if label.ring else (width, height)

    def cost(self, boxes: Array, anchor: Array, gap: float) -> Array:
        """What it costs to write in each of the boxes ``[A, 4]``: for each 1.5 points of line that it covers and for each
        marker that the line to it runs over; infinite where it would leave the axes, or touch a marker or another label."""
        grown = boxes + PAD * np.array([-1, -1, 1, 1])
        solid = np.concatenate([self.marks, self.taken])
        inside = (boxes[:, :2] >= self.frame[:2] + 1).all(axis=1) & (boxes[:, 2:] <= self.frame[2:] - 1).all(
            axis=1
        )
        hit = (grown[:, None, :2] < solid[None, :, 2:]) & (grown[:, None, 2:] > solid[None, :, :2])
        free = inside & ~np.any(np.all(hit, axis=2), axis=1) & ~np.any(_inside(grown, self.leaders), axis=1)
        cost = np.where(free, 0.0, np.inf)
        for i in np.flatnonzero(free):
            cost[i] = 0.4 * _inside(grown[i : i + 1], self.inks).sum()
            if gap >= LEADER:
                way = _dense(np.stack([anchor, _nearest(boxes[i], anchor)]))
                away = way[np.abs(way - anchor).max(axis=1) > 4]
                cost[i] += 0.7 * len(np.unique(np.nonzero(_inside(self.marks, away))[0]))
                if _inside(self.taken, away).any():
                    cost[i] = np.inf
        return cost

    def draw(self, label: Label, box: Array, anchor: Array, gap: float) -> None:
        """Write a label, and the line that leads to it if it is far."""
        self.taken = np.concatenate([self.taken, box[None]])
        back = self.axes.transData.inverted()
        x, y = (box[:2] + box[2:]) / 2 - anchor
        look: dict[str, Any] = {"fontsize": SMALL, "color": INK, "ha": "center", "va": "center"}
        if label.ring:
            look["bbox"] = {
                "boxstyle": "circle,pad=0.2",
                "facecolor": "none",
                "edgecolor": MUTED,
                "linewidth": 0.5,
            }
        at = tuple(back.transform(anchor / self.scale))
        self.axes.annotate(shown(label.text), at, (x, y), textcoords="offset points", **look)
        if gap >= LEADER:
            way = np.stack([anchor, _nearest(box, anchor)])
            ends = np.asarray(back.transform(way / self.scale))
            self.axes.plot(ends[:, 0], ends[:, 1], color=MUTED, linewidth=0.5, zorder=1.5)
            self.leaders = np.concatenate([self.leaders, _dense(way)])


def _around(anchor: Array, width: float, height: float, gap: float) -> Array:
    """Boxes ``[A, 4]`` whose nearest edge is ``gap`` away from the anchor, in every direction."""
    cos, sin = np.cos(ANGLES), np.sin(ANGLES)
    x = anchor[0] + gap * cos + width / 2 * np.clip(1.6 * cos, -1, 1)
    y = anchor[1] + gap * sin + height / 2 * np.clip(1.6 * sin, -1, 1)
    half = np.array([width, height]) / 2
    middle = np.stack([x, y], axis=1)
    return np.concatenate([middle - half, middle + half], axis=1)


_PREFERENCE: Array = 0.4 * np.abs(np.sin(ANGLES)) + 0.3 * (np.cos(ANGLES) < -0.1)
"""Right before left, both before above and below."""


def _nearest(box: Array, point: Array) -> Array:
    return np.clip(point, box[:2], box[2:])


def _dense(path: Array, step: float = 1.5) -> Array:
    """Points along a path, at most ``step`` apart."""
    parts = [path[:1]]
    for begin, end in pairwise(path):
        many = int(np.ceil(np.hypot(*(end - begin)) / step)) + 1
        parts.append(begin + (end - begin) * np.linspace(0, 1, min(many, 2000))[1:, None])
    return np.concatenate(parts)


def _inside(boxes: Array, points: Array) -> NDArray[np.bool_]:
    """``[A, N]``: which points lie in which boxes."""
    above = (points[None] >= boxes[:, None, :2]).all(axis=2)
    return np.asarray(above & (points[None] <= boxes[:, None, 2:]).all(axis=2))
