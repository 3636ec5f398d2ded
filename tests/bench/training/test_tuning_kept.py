"""What was measured is kept, and measured again only where that is needed. Measurements are tables."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.machine import kept_timings
from bench.training import tuning

from ..tables import RECIPE, SHAPE, Table, Using, files, tuner

pytestmark = pytest.mark.usefixtures("own_folder")


def test_what_was_measured_is_not_measured_again(using: Using) -> None:
    first, second = Table(lambda n: n**1.5, lambda n: 0.5), Table(lambda n: 1.0)
    using(first)
    found = (tuner().pack(6), tuner().eager(3), tuner().compiled(2))
    assert first.measured
    using(second)
    assert (tuner().pack(6), tuner().eager(3), tuner().compiled(2)) == found
    assert second.measured == []
    assert tuner().pack(4) == (4, 2.0), "other sizes are"
    assert second.measured == ["eager-4", "eager-2"]


def test_other_work_is_another_file(using: Using, monkeypatch: pytest.MonkeyPatch) -> None:
    table = using(Table(lambda n: 1.0))
    tuner().eager(1)
    tuner(shape=replace(SHAPE, width=64)).eager(1)
    tuner(recipe=replace(RECIPE, batch=8)).eager(1)
    tuner(recipe=replace(RECIPE, precision="bf16")).eager(1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    tuner().eager(1)
    monkeypatch.setattr(tuning, "versions", lambda: {"torch": "0.1", "python": "3"})
    tuner().eager(1)
    monkeypatch.setattr(tuning, "device_name", lambda device: "abacus")
    tuner().eager(1)
    assert table.measured == ["eager-1"] * 7
    assert len(files()) == 7
    works = [json.loads(file.read_text())["work"] for file in files()]
    assert sorted(work["device"] == "abacus" for work in works) == [False] * 6 + [True]
    tuner(recipe=replace(RECIPE, steps=7, lr=1.0)).eager(1)
    assert len(files()) == 7, "the length of a run is no part of a step"


DAMAGE = ["", '{"eager', "[]", "null", "\x00"]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_measured_again(damage: str, using: Using) -> None:
    table = using(Table(lambda n: 1.0))
    tuner().eager(1)
    (file,) = files()
    file.write_text(damage)
    assert tuner().eager(1) == 1.0
    assert table.measured == ["eager-1"] * 2
    assert tuner().eager(1) == 1.0
    assert table.measured == ["eager-1"] * 2, "and is whole again"


def entry(values: Any, age: float = 0.0, spread: Any = 0.0) -> dict[str, Any]:
    """A measurement as a file keeps it, so many days old."""
    measured = datetime.now(UTC) - timedelta(days=age)
    return {"values": values, "measured": measured.isoformat(), "spread": spread}


WRONG: list[Any] = [
    *(None, "x", [], {}, [1.0, 2.0], {"values": [1.0]}),
    *map(entry, (None, [1.0, None, 2.0], [[1.0], 2.0, 3.0], [0.0] * 3, [-1.0] * 2)),
    *(entry([1.0], spread=spread) for spread in (None, "x", -0.1)),
    {"values": [1.0], "measured": "yesterday", "spread": 0.0},
    {"values": [1.0], "measured": "2026-01-01T00:00:00", "spread": 0.0},  # of no time zone
]


@pytest.mark.parametrize("value", WRONG, ids=range(len(WRONG)))
def test_a_file_that_holds_something_else_is_measured_again(value: Any, using: Using) -> None:
    """As after an edit by hand, or in another version's format."""
    table = using(Table(lambda n: 1.0, lambda n: 0.5, first=7.0))
    tuner().eager(2)
    (file,) = files()
    kept = json.loads(file.read_text())
    file.write_text(json.dumps(kept | {"eager-2": value, "compiled-2": value, "pack-2": value}))
    table.measured.clear()
    assert tuner().eager(2) == 1.0
    assert tuner().compiled(2) == tuning.Compiled(1.0, 0.5, 7.0)
    assert tuner().pack(2) == (2, 2.0)
    assert table.measured == ["eager-2", "eager-2", "compiled-2", "eager-2", "eager-1"]


def test_a_folder_that_cannot_be_written_does_no_harm(
    using: Using, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    table = using(Table(lambda n: max(1.0, n * n / 4)))
    assert tuner().pack(4)[0] == 2
    assert table.measured == ["eager-4", "eager-2", "eager-2", "eager-1"]
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.parametrize(("age", "again"), [(29.9, False), (30.1, True), (-30.1, True)])
def test_a_measurement_is_believed_for_a_month(age: float, again: bool, using: Using) -> None:
    """Neither one of last year, nor one of a clock that was wrong."""
    table = using(Table(lambda n: 1.0))
    tuner().eager(1)
    (file,) = files()
    file.write_text(json.dumps(json.loads(file.read_text()) | {"eager-1": entry([7.0], age)}))
    assert tuner().eager(1) == (1.0 if again else 7.0)
    assert len(table.measured) == 1 + again


def test_what_was_measured_on_a_busy_machine_is_measured_again(using: Using) -> None:
    """Its turns disagree. Each kind of measurement notes that."""
    table = using(Table(lambda n: 9.0, lambda n: 5.0))
    table.spread = kept_timings.SPREAD + 0.1
    busy = tuner().eager(1), tuner().compiled(1).compiled, tuner().pack(4)
    table = using(Table(lambda n: 1.0, lambda n: 0.5))
    assert (tuner().eager(1), tuner().compiled(1).compiled, tuner().pack(4)) != busy
    assert tuner().eager(1) == 1.0
    assert table.measured == ["eager-1", "eager-1", "compiled-1", "eager-4", "eager-2"]


@pytest.mark.parametrize("compiled", [False, True])
def test_a_training_that_disagrees_has_the_work_measured_again(compiled: bool, using: Using) -> None:
    """Whether a training or the measurement met a busy machine is unknown: both are looked at again."""
    table = using(Table(lambda n: 1.0, lambda n: 1.0))

    def known() -> bool:
        tuner().compiled(2) if compiled else tuner().eager(2)
        return table.measured.clear() or True

    for took in (0.51, 1.0, 1.99):
        assert known()
        assert tuner().doubt(2, compiled, took) is None
        assert files()
    for took in (0.49, 2.01, 20.0):
        assert known()
        assert str(tuner().doubt(2, compiled, took)).startswith(
            f"steps took {1000 * took:.3g} ms, and 1e+03 ms"
        )
        assert not files()
        assert tuner().doubt(2, compiled, took) is None, "nothing is known any more"
    assert tuner().doubt(3, compiled, 99.0) is None
