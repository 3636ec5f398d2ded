"""GenEval's rules (Ghosh et al. 2023, arXiv 2310.11513): whether the objects that a detector sees fulfil a prompt.

A prompt's metadata list what has to be seen (``include``: a class and how many, in a colour, in a position to an earlier
entry) and what must not (``exclude``: so many of a class). Of a class as many are judged as the entry asks for, the most
confident ones. Confidences and distances are those of GenEval's script; that its detector gives published scores was not
tried. For drawn shapes, :mod:`bench.metrics.geneval_tasks` has the same tasks without a detector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.metrics.geneval_tasks import TASKS
from bench.pretrained.detector import Seen
from flowbench._core.errors import UserError

CONFIDENCE, CONFIDENCE_TO_COUNT = 0.3, 0.9
"""What a detector must exceed for an object to be there; in the task of counting more."""
MOST = 16
"""Objects of one class, at most."""
SLACK = 0.1
"""Share of both objects' sizes by which their centres may be apart without a direction."""
DIRECTION = 0.5
"""Least component of the unit vector from one centre to the other that is a direction."""
COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
"""GenEval's colours: an object has the one that fits best."""
POSITIONS = ("left of", "right of", "above", "below")
COCO = {"computer mouse": "mouse", "tv remote": "remote", "computer keyboard": "keyboard"}
"""GenEval's names of classes of COCO that have others there."""

Colors = Callable[[str, Sequence[Seen]], list[str]]
"""The colours of objects of a class, given by GenEval's name of it."""


@dataclass(frozen=True)
class Entry:
    """``count`` of a class; in a colour, or in a position to what another entry, by its number, has found."""

    label: str
    count: int
    color: str | None = None
    position: tuple[str, int] | None = None


@dataclass(frozen=True)
class Wanted:
    """The metadata of a prompt."""

    tag: str
    include: tuple[Entry, ...]
    exclude: tuple[Entry, ...]

    @property
    def least(self) -> float:
        """The confidence that objects must exceed."""
        return CONFIDENCE_TO_COUNT if self.tag == "counting" else CONFIDENCE

    @property
    def labels(self) -> set[str]:
        """The classes that a detector needs."""
        return {entry.label for entry in (*self.include, *self.exclude)}

    @property
    def colored(self) -> bool:
        """Whether a colour is asked for."""
        return any(entry.color for entry in self.include)


def wanted(about: dict[str, Any]) -> Wanted:
    """The metadata of a prompt, as GenEval's files have them. Raises :class:`UserError` for other ones."""
    try:
        if about["tag"] not in TASKS:
            raise ValueError(f"it has no task {about['tag']!r}")
        include, exclude = (
            tuple(entry(one, number) for number, one in enumerate(about.get(part, [])))
            for part in ("include", "exclude")
        )
        return Wanted(about["tag"], include, exclude)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"the prompt {about.get('prompt')!r} is none of GenEval's: {reason}") from None


def entry(one: dict[str, Any], number: int) -> Entry:
    """An entry of the metadata. Raises AttributeError, KeyError, TypeError or ValueError."""
    color, position = one.get("color"), None
    if color not in (None, *COLORS):
        raise ValueError(f"it has no colour {color!r}")
    if "position" in one:
        where, other = one["position"]
        if where not in POSITIONS or other not in range(number):
            raise ValueError(f"{where!r} of entry {other!r} is no position to an earlier entry")
        position = where, int(other)
    return Entry(str(one["class"]), int(one["count"]), color, position)


def named(label: str, labels: frozenset[str]) -> str:
    """A detector's name of a class of GenEval's. Raises :class:`UserError` if it has none."""
    found = next((name for name in (label, COCO.get(label)) if name in labels), None)
    if found is None:
        raise UserError(f"the detector has no class {label!r}: it needs one for the classes of COCO")
    return found


def fulfilled(asked: Wanted, seen: Sequence[Seen], labels: frozenset[str], colors: Colors | None) -> bool:
    """Whether a picture fulfils a prompt; ``seen`` are its objects, the most confident first. ``colors`` may be None for a
    prompt without a colour."""

    def of(entry: Entry, most: int = MOST) -> list[Seen]:
        own = [
            each
            for each in seen
            if each.label == named(entry.label, labels) and each.confidence > asked.least
        ]
        return own[: min(most, MOST)]

    groups: list[list[Seen]] = []
    for entry in asked.include:
        group = of(entry, entry.count)
        if len(group) < entry.count:
            return False
        if entry.color:
            assert colors is not None
            if colors(entry.label, group).count(entry.color) < entry.count:
                return False
        if entry.position:
            where, other = entry.position
            if not all(where in directions(one.box, two.box) for one in group for two in groups[other]):
                return False
        groups.append(group)
    return all(len(of(entry)) < entry.count for entry in asked.exclude)


def directions(one: Sequence[float], other: Sequence[float]) -> set[str]:
    """In which of :data:`POSITIONS` a box (left, top, right, bottom) is to another: none if they lie close, two on a
    diagonal."""
    apart, moved = [], []
    for low, high in ((0, 2), (1, 3)):
        offset = (one[low] + one[high] - other[low] - other[high]) / 2
        slack = SLACK * (abs(one[high] - one[low]) + abs(other[high] - other[low]))
        apart.append(offset)
        moved.append(max(abs(offset) - slack, 0.0) * (1 if offset > 0 else -1))
    length = (apart[0] ** 2 + apart[1] ** 2) ** 0.5
    if max(map(abs, moved)) < 1e-3:
        return set()
    x, y = (value / length for value in moved)
    found = {"left of": -x, "right of": x, "above": -y, "below": y}
    return {name for name, share in found.items() if share > DIRECTION}
