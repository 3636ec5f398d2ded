"""GenEval's rules on objects made by hand: what is there, how many, in which colour and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from bench.metrics.geneval_rules import directions, fulfilled, wanted
from bench.pretrained.detector import Seen
from flowbench._core.errors import UserError

LABELS = frozenset({"cup", "dog", "remote"})
BOX = (0.0, 0.0, 10.0, 10.0)


def seen(label: str, confidence: float = 0.95, box: Sequence[float] = BOX) -> Seen:
    return Seen(label, confidence, (box[0], box[1], box[2], box[3]))


def holds(about: dict[str, Any], *objects: Seen, colors: Any = None) -> bool:
    return fulfilled(wanted(about), sorted(objects, key=lambda one: -one.confidence), LABELS, colors)


def asks(tag: str, *include: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"tag": tag, "prompt": "p", "include": [{"count": 1} | one for one in include], **more}


def test_an_object_is_there_above_a_confidence_of_three_tenths() -> None:
    about = asks("single_object", {"class": "cup"})
    assert holds(about, seen("cup", 0.31), seen("dog"))
    assert not holds(about, seen("cup", 0.3), seen("dog"))
    assert not holds(about)


def test_both_of_two_objects_are_there() -> None:
    about = asks("two_object", {"class": "cup"}, {"class": "dog"})
    assert holds(about, seen("cup"), seen("dog", 0.4))
    assert not holds(about, seen("cup"), seen("cup"))


@pytest.mark.parametrize(("count", "right"), [(1, False), (2, True), (3, False)])
def test_as_many_as_the_prompt_and_no_more(count: int, right: bool) -> None:
    about = asks("counting", {"class": "cup", "count": 2}, exclude=[{"class": "cup", "count": 3}])
    assert holds(about, *[seen("cup")] * count) is right
    assert holds(about, *[seen("cup")] * count, seen("cup", 0.9), seen("dog")) is right, "0.9 counts for none"


def test_a_class_has_sixteen_objects_at_most() -> None:
    about = asks("counting", {"class": "cup", "count": 2}, exclude=[{"class": "cup", "count": 17}])
    assert holds(about, *[seen("cup")] * 20)


def test_the_color_is_that_of_the_most_confident() -> None:
    about = asks("colors", {"class": "cup", "color": "red"})
    for first, right in (("red", True), ("blue", False)):
        asked: list[tuple[str, list[float]]] = []

        def colors(label: str, group: Sequence[Seen], first: str = first, asked: Any = asked) -> list[str]:
            asked.append((label, [one.confidence for one in group]))
            return [first]

        assert holds(about, seen("cup", 0.5), seen("cup", 0.8), colors=colors) is right
        assert asked == [("cup", [0.8])]


def test_each_object_in_its_own_color() -> None:
    about = asks("color_attr", {"class": "cup", "color": "red"}, {"class": "dog", "color": "black"})
    for found, right in (({"cup": "red", "dog": "black"}, True), ({"cup": "black", "dog": "red"}, False)):
        assert (
            holds(about, seen("cup"), seen("dog"), colors=lambda label, _, found=found: [found[label]])
            is right
        )


def test_a_position_is_to_the_entry_that_is_named() -> None:
    about = asks("position", {"class": "dog"}, {"class": "cup", "position": ["left of", 0]})
    assert holds(about, seen("dog", box=(50, 0, 60, 10)), seen("cup"))
    assert not holds(about, seen("cup", box=(50, 0, 60, 10)), seen("dog"))
    nearer = seen("cup", 0.99, box=(90, 0, 99, 10))
    assert not holds(about, seen("dog", box=(50, 0, 60, 10)), seen("cup"), nearer), (
        "of cups the most confident"
    )


@pytest.mark.parametrize(
    ("box", "found"),
    [
        ((-30, 0, -20, 10), {"left of"}),
        ((30, 0, 40, 10), {"right of"}),
        ((0, -30, 10, -20), {"above"}),
        ((0, 30, 10, 40), {"below"}),
        ((30, 30, 40, 40), {"right of", "below"}),
        ((30, 10, 40, 20), {"right of"}),
        (BOX, set()),
        ((1.9, 0, 11.9, 10), set()),  # a tenth of both widths, 2, is no direction
        ((3, 0, 13, 10), set()),  # of 3 pixels 1 is left, a third
        ((4.1, 0, 14.1, 10), {"right of"}),  # of 4.1 pixels 2.1 are left
        ((4.1, 0, 44.1, 10), {"right of"}),  # of 19.1 pixels 14.1 are left: the wider box takes 4
    ],
)
def test_directions_of_a_box_from_another(box: tuple[float, float, float, float], found: set[str]) -> None:
    assert directions(box, BOX) == found
    opposite = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
    assert directions(BOX, box) == {opposite[one] for one in found}


def test_a_class_by_its_name_in_coco() -> None:
    assert holds(asks("single_object", {"class": "tv remote"}), seen("remote"))
    with pytest.raises(UserError, match="no class 'computer mouse'"):
        holds(asks("single_object", {"class": "computer mouse"}), seen("remote"))


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"prompt": "a cat"}, "it has no 'tag'"),
        ({"tag": "writing", "prompt": "a cat"}, "no task 'writing'"),
        (asks("colors", {"class": "cup", "color": "mauve"}), "no colour 'mauve'"),
        (asks("colors", {"color": "red"}), "it has no 'class'"),
        ({"tag": "colors", "prompt": "p", "include": ["cup"]}, "is none of GenEval's"),
        (asks("position", {"class": "cup", "position": ["left of", 0]}), "no position to an earlier entry"),
        (asks("position", {"class": "dog"}, {"class": "cup", "position": ["near", 0]}), "no position"),
    ],
)
def test_other_metadata_are_none_of_genevals(about: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        wanted(about)
    assert "\n" not in str(error.value)
