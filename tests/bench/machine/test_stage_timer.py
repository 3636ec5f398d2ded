"""Where the time of a command goes. The clock is the tests' own."""

from __future__ import annotations

from contextlib import suppress

import pytest

from bench.machine.stage_timer import STAGES, Stages, sentence


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("bench.machine.stage_timer.time.perf_counter", made)
    return made


def test_every_moment_counts_once(clock: Clock) -> None:
    spent = Stages()
    clock.now += 1  # of no stage
    with spent("train"):
        clock.now += 2
        with spent("compile"):
            clock.now += 4
            with spent("store"):
                clock.now += 8
            clock.now += 16
        clock.now += 32
    clock.now += 64  # of no stage
    with spent("train"):
        clock.now += 128
    assert spent.seconds == {
        "start-up": 0, "compile": 20, "train": 162, "generate": 0, "metrics": 0, "store": 8,
    }  # fmt: skip
    assert spent.report()["total"] == 255


def test_a_stage_inside_itself_counts_once(clock: Clock) -> None:
    spent = Stages()
    with spent("metrics"):
        clock.now += 1
        with spent("metrics"):
            clock.now += 2
        clock.now += 4
    assert spent.seconds["metrics"] == 7


def test_a_stage_that_raises_has_ended(clock: Clock) -> None:
    spent = Stages()
    with spent("train"):
        with suppress(ZeroDivisionError), spent("generate"):
            clock.now += 1
            _ = 1 / 0
        clock.now += 2
    clock.now += 4
    with spent("store"):
        clock.now += 8
    assert {stage: seconds for stage, seconds in spent.seconds.items() if seconds} == {
        "generate": 1, "train": 2, "store": 8,
    }  # fmt: skip


def test_start_up_is_what_came_before_and_was_no_stage(clock: Clock) -> None:
    spent = Stages(started=90.0)
    with spent("compile"):
        clock.now += 3
    clock.now += 2
    spent.started_up()
    with spent("train"):
        clock.now += 7
    clock.now += 1
    found = spent.report()
    assert (found["start-up"], found["compile"], found["train"]) == (12, 3, 7)
    assert found["total"] == 23


def test_the_report_names_every_stage_and_the_sentence_the_long_ones(clock: Clock) -> None:
    spent = Stages()
    with spent("generate"):
        clock.now += 61.2344
    with spent("store"):
        clock.now += 0.25
    found = spent.report()
    assert tuple(found) == (*STAGES, "total")
    assert found["generate"] == 61.234
    assert sentence(spent.report()) == "generate 61"
