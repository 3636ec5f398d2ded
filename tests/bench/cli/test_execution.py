"""The options of how workers run: one for each field of an execution, with its default."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from bench.cli.execution import NAMES, TEXTS
from bench.cli.parser import parse
from bench.runfolder.submission import Execution
from flowbench._core.errors import UserError

CHANGED: dict[str, tuple[str, Any]] = {
    "device": ("cpu", "cpu"),
    "slots": ("2", 2),
    "pack": ("3", 3),
    "replicas": ("2", 2),
    "accumulate": ("4", 4),
    "recompute": ("blocks", "blocks"),
    "shard": ("blocks", "blocks"),
    "compile": ("off", "off"),
    "checkpoint": ("2", 120.0),
    "track": ("tensorboard", "tensorboard"),
    "probes": ("", True),
    "trusted": ("", True),
}
"""Field -> another value as an option has it, and as the field has it."""


def test_there_is_an_option_for_each_field_but_the_launcher() -> None:
    assert set(TEXTS) == {f.name for f in fields(Execution)} - {"executor"}
    assert parse([]).execution == Execution()


@pytest.mark.parametrize("field", TEXTS)
def test_an_option_sets_its_field(field: str) -> None:
    text, value = CHANGED[field]
    more = ["--replicas", "2"] if field == "shard" else []
    found = parse([f"--{NAMES.get(field, field)}", *filter(None, [text]), *more]).execution
    assert getattr(found, field) == value != getattr(Execution(), field)


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ((), "one replica has nothing to divide, choose --replicas 2 or more"),
        (("--replicas", "2", "--pack", "3"), "it trains one cell at a time, not --pack 3: leave one out"),
        (("--replicas", "2", "--compile", "on"), "are not compiled: leave out --compile on"),
    ],
)
def test_parameters_are_divided_among_replicas_of_one_cell(others: tuple[str, ...], words: str) -> None:
    with pytest.raises(UserError, match=f"--shard blocks: .*{words}"):
        parse(["--shard", "blocks", *others])
    found = parse(["--shard", "blocks", "--replicas", "4"]).execution
    assert (found.pack, found.shards, found.parts) == (1, 4, 4)
    assert parse(["--replicas", "4"]).execution.shards == 1


def test_auto_is_the_default() -> None:
    assert parse(["--pack", "auto", "--slots", "auto"]).execution == Execution()
