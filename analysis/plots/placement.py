"""Labels next to points that overlap nothing: each in turn takes the best free place around its point, or is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.plots.style import SMALL
from analysis.plots.widths import shown
from formulations.colours import INK, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]
GAPS = (4.0, 6.5, 11.0, 17.0, 24.0)
"""Distances of a label from its point, points."""
LEADER = 10.0
"""From here on a thin line leads to the label."""
ANGLES = np.radians(np.arange(0, 360, 22.5))
PREFERENCE: Array = 0.4 * np.abs(np.sin(ANGLES)) + 0.3 * (np.cos(ANGLES) < -0.1)
"""Costs of the angles: right before left, both before above and below."""
PAD = 1.2
"""Free room around a label, points."""


@dataclass(frozen=True)
class Label:
    """``text`` next to one of the places ``at`` ``[K, 2]``, in data coordinates, at most ``reach`` points away; ``ring``
    draws a circle around it."""

    text: str
    at: tuple[tuple[float, float], ...]
    ring: bool = False
    reach: float = 24.0


def place(
    axes: Axes, labels: Sequence[Label], points: Any, lines: Sequence[Any] = (), size: float = 5.0
) -> list[Label]:
    """Write labels, the important ones first, inside the axes of a figure that is settled (`analysis.plots.style.settle`).
    Returns those that fit nowhere.

    ``points`` ``[N, 2]`` are markers of ``size`` (points) that no label may touch; ``lines``, each ``[K, 2]``, should not be
    crossed but may be. Each label takes the free place that is nearest and crosses least; there is none for a point
    outside the axes.
    """
    room = _Room(axes, np.asarray(points, dtype=np.float64).reshape(-1, 2), size, lines)
    return [label for label in labels if not room.write(label)]


class _Room:
    """What is taken within some axes; lengths in points, rectangles as left, bottom, right, top."""

    def __init__(self, axes: Axes, points: Array, size: float, lines: Sequence[Any]) -> None:
        self.axes, self.scale = axes, 72.0 / axes.figure.dpi
        self.frame = np.array(axes.get_window_extent().extents) * self.scale
        self.marks = _around(self.seen(points), size)
        """Rectangles ``[N, 4]`` of markers."""
        paths = [_dense(self.seen(np.asarray(line, dtype=np.float64))) for line in lines if len(line) > 1]
        self.inks = np.concatenate([np.empty((0, 2)), *paths])
        self.taken, self.leaders = np.empty((0, 4)), np.empty((0, 2))
        """Rectangles of labels, and points of the lines to them."""

    def seen(self, points: Array) -> Array:
        """Data coordinates as points of the page."""
        return np.asarray(self.axes.transData.transform(points)) * self.scale

    def write(self, label: Label) -> bool:
        """Find the best free place, take it and write there."""
        anchors = self.seen(np.asarray(label.at, dtype=np.float64).reshape(-1, 2))
        anchors = anchors[_inside(self.frame[None], anchors)[0]]
        gaps = np.array([gap for gap in GAPS if gap <= label.reach])
        rank, ring, angle = np.indices((len(anchors), len(gaps), len(ANGLES))).reshape(3, -1)
        extent = self.extent(label)
        way = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)[angle]
        middles = anchors[rank] + gaps[ring, None] * way + extent / 2 * np.clip(1.6 * way, -1, 1)
        boxes = _around(middles, extent)
        cost = 1.5 * ring + 0.02 * rank + PREFERENCE[angle]
        cost += self.cost(boxes, anchors[rank], gaps[ring])
        best = int(cost.argmin()) if len(cost) else 0
        if not len(cost) or np.isinf(cost[best]):
            return False
        self.draw(label, boxes[best], anchors[rank[best]], gaps[ring[best]])
        return True

    def extent(self, label: Label) -> Array:
        """Width and height of a label."""
        text = self.axes.text(0, 0, shown(label.text), fontsize=SMALL)
        extent = np.array(text.get_window_extent().size) * self.scale
        text.remove()
        return np.full(2, extent.max() + 3) if label.ring else extent

    def cost(self, boxes: Array, anchors: Array, gaps: Array) -> Array:
        """Cost ``[B]`` of writing in each of the boxes ``[B, 4]``: for each 1.5 points of line that it covers and for each
        marker that the line to it runs over; infinite where it would leave the axes, or touch a marker or another label."""
        grown = boxes + PAD * np.array([-1, -1, 1, 1])
        solid = np.concatenate([self.marks, self.taken])
        inside = ((boxes - self.frame) * [1, 1, -1, -1] >= 1).all(axis=1)
        hit = (grown[:, None, :2] < solid[None, :, 2:]) & (grown[:, None, 2:] > solid[None, :, :2])
        free = inside & ~np.any(np.all(hit, axis=2), axis=1) & ~_inside(grown, self.leaders).any(axis=1)
        cost = np.where(free, 0.0, np.inf)
        cost[free] = 0.4 * _inside(grown[free], self.inks).sum(axis=1)
        for i in np.flatnonzero(free & (gaps >= LEADER)):
            way = _dense(_leader(boxes[i], anchors[i]))
            away = way[np.abs(way - anchors[i]).max(axis=1) > 4]
            crossed = _inside(self.taken, away).any()
            cost[i] += np.inf if crossed else 0.7 * _inside(self.marks, away).any(axis=1).sum()
        return cost

    def draw(self, label: Label, box: Array, anchor: Array, gap: float) -> None:
        """Write a label, and the line that leads to it if it is far."""
        self.taken = np.concatenate([self.taken, box[None]])
        back = self.axes.transData.inverted()
        look: dict[str, Any] = {"fontsize": SMALL, "color": INK, "ha": "center", "va": "center"}
        if label.ring:
            ring = {"boxstyle": "circle,pad=0.2", "facecolor": "none", "edgecolor": MUTED, "linewidth": 0.5}
            look["bbox"] = ring
        at, offset = tuple(back.transform(anchor / self.scale)), tuple((box[:2] + box[2:]) / 2 - anchor)
        self.axes.annotate(shown(label.text), at, offset, textcoords="offset points", **look)
        if gap >= LEADER:
            way = _leader(box, anchor)
            self.axes.plot(*back.transform(way / self.scale).T, color=MUTED, linewidth=0.5, zorder=1.5)
            self.leaders = np.concatenate([self.leaders, _dense(way)])


def _around(middles: Array, size: Array | float) -> Array:
    """Rectangles ``[..., 4]`` of a width and height around points ``[..., 2]``."""
    half = np.asarray(size) / 2
    return np.concatenate([middles - half, middles + half], axis=-1)


def _leader(box: Array, anchor: Array) -> Array:
    """From an anchor to the nearest point of a box, ``[2, 2]``."""
    return np.stack([anchor, np.clip(anchor, box[:2], box[2:])])


def _dense(path: Array, step: float = 1.5) -> Array:
    """Points along a path, at most ``step`` apart."""
    parts = [path[:1]]
    for begin, end in pairwise(path):
        many = int(np.ceil(np.hypot(*(end - begin)) / step)) + 1
        parts.append(begin + (end - begin) * np.linspace(0, 1, min(many, 2000))[1:, None])
    return np.concatenate(parts)


def _inside(boxes: Array, points: Array) -> NDArray[np.bool_]:
    """``[B, N]``: which points lie in which boxes."""
    above = (points[None] >= boxes[:, None, :2]).all(axis=2)
    return np.asarray(above & (points[None] <= boxes[:, None, 2:]).all(axis=2))
