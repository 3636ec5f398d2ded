"""What a run shows of itself: everything at any width, nothing cut, and lines with the remaining time in a log."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bench.cost.workload import left, speed
from bench.status import progress
from bench.status.progress import Display, Now, clock
from flowbench._core import logs

NOW = Now(
    "train",
    "step 450 of 900, lowest validation loss 0.293 rf/lognorm(0,1)",
    0.456,
    "12.3 steps/s",
    "12 minutes of training left",
)


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_every_part_is_there_at_every_width(width: int, ascii_only: bool) -> None:
    lines = NOW.lines(width, 3_723, ascii_only)
    assert all(len(line) <= width for line in lines)
    text = " ".join(lines)
    for part in (
        "train:",
        "450",
        "900",
        "0.293",
        "rf/lognorm(0,1)",
        "46%",
        "12.3 steps/s",
        "1:02:03",
        NOW.left,
    ):
        assert part in text
    assert ("#" in text) == ascii_only
    assert "…" not in text
    assert width != 200 or len(lines) == 1


numbers = st.floats(0, 1e6)


@given(st.integers(12, 250), st.floats(0, 1), numbers, numbers)
def test_no_number_is_cut(width: int, share: float, rate: float, seconds: float) -> None:
    now = Now("evaluate", "ema-50-2.5, 256 images", share, f"{rate:.3g} images/s", f"{rate:.0f} hours left")
    words = " ".join(now.lines(width, seconds)).split()
    for word in [*now.text.split(), *now.rate.split(), *now.left.split(), f"{share:.0%}", clock(seconds)]:
        assert word in words


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_a_terminal_shows_it_as_it_is(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    display = Display()
    display.now = NOW
    console.print(display)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert [line.rstrip() for line in shown.splitlines()] == NOW.lines(width, display.elapsed)


def test_a_log_has_a_line_now_and_then_and_seldom_in_a_long_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    display = Display()
    assert display.live is None
    with logs.shown():
        for second in range(1, 20_000):
            now[0] = float(second)
            display.show(Now("train", f"step {second}", second / 20_000, "1 steps/s", "5 hours left"))
    lines = capsys.readouterr().err.splitlines()
    at = [float(line.partition("s]")[0].strip("[ ")) for line in lines]
    pauses = [b - a for a, b in pairwise(at)]
    assert at[:3] == [11.0, 22.0, 33.0]
    assert max(pauses) == 301.0
    assert pauses == sorted(pauses)
    assert lines[0].endswith("train: step 11, 0%, 1 steps/s, 5 hours left")


def test_a_start_says_what_it_does() -> None:
    assert Now().plain() == "start: loading torch"
    assert Now("start", "loading images and captions").plain() == "start: loading images and captions"


def test_clocks_and_rates_in_words() -> None:
    assert [clock(s) for s in (0, 59.9, 60, 3_599, 3_600, 360_000)] == [
        *("0:00", "0:59", "1:00", "59:59", "1:00:00", "100:00:00")
    ]
    speeds = [speed({"rate": rate, "unit": "step"}) for rate in (12.345, 0.25, 0.0, None)]
    assert speeds == ["12.3 steps/s", "4 s/step", "", ""]
    assert speed({}) == left({}) == ""
