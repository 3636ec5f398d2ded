"""The plan on file: one definition for those who write it and those who read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import flowbench
from bench.config.identity import canonical
from bench.runfolder import manifest
from bench.runfolder.manifest import PROGRAM, Manifest

COMMITTED = sorted(
    file
    for file in Path(flowbench.ROOT, "results").glob("*/grid.json")
    if "recipes" in json.loads(file.read_text(encoding="utf-8"))
)


@pytest.mark.parametrize("file", COMMITTED, ids=lambda file: file.parent.name)
def test_a_plan_that_is_read_and_written_is_the_same(file: Path) -> None:
    """But for the name of the command, which the first ones do not have."""
    kept = json.loads(file.read_text(encoding="utf-8"))
    (found,) = manifest.read(file.parent)
    assert canonical(found.json()) == canonical({"program": PROGRAM, **kept})
    again = Manifest.of(json.loads(json.dumps(found.json())), "rank")
    assert (again, again.digest) == (found, found.digest)


def test_another_plan_has_another_digest() -> None:
    kept = json.loads(COMMITTED[0].read_text(encoding="utf-8"))
    found = [Manifest.of({**kept, **more}, "rank") for more in ({}, {"cells": kept["cells"][1:]})]
    assert found[0].digest != found[1].digest


def test_commands_are_those_of_all_parts() -> None:
    kept = json.loads(COMMITTED[0].read_text(encoding="utf-8"))
    further = [{"command": ["a"]}, {"program": "bench.compare", "command": ["b"]}]
    found = Manifest.of({**kept, "command": ["first"], "further": further}, "rank")
    assert found.commands == ((PROGRAM, ("first",)), (PROGRAM, ("a",)), ("bench.compare", ("b",)))
    assert found.json()["further"][1] == further[1]
