"""Timing in turns."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.machine import clock
from bench.machine.graph import WARM_UP


def test_alternation_takes_medians_of_turns_after_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    times = iter([1.0, 20.0, 3.0, 10.0, 2.0, 30.0])

    def timed(function: Callable[[], None]) -> float:
        function()
        return next(times)

    monkeypatch.setattr(clock, "seconds", timed)
    found = clock.alternate(lambda: calls.append("a"), lambda: calls.append("b"))
    assert found == (clock.Timed(2.0, 1.0), clock.Timed(20.0, 1.0)), "the median is twice the fastest"
    assert "".join(calls) == "ab" * (WARM_UP + 1 + 3)
    monkeypatch.setattr(clock, "seconds", lambda function: 0.0)
    still = clock.Timed(0.0, 0.0)
    assert clock.alternate(lambda: None, lambda: None) == (still, still), (
        "it ends where the clock stands still"
    )
