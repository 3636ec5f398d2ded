"""What the training loop reads: the batches and coefficients of a step, however many steps are drawn at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

from bench.encoders.ragged_captions import Ragged
from bench.encoders.text import PaddedCaptions, placed
from bench.objectives import Batch
from bench.training import feed as module
from bench.training.batches import Batches, Draws
from bench.training.coefficients import at, coefficients
from bench.training.feed import Feed
from bench.worker.setup import Setup
from formulations import Coeffs, get

CPU = torch.device("cpu")
TOTAL = 45
"""Steps: several epochs of 96 images in batches of 8, and a last chunk that is not full."""

FORMULATIONS = [get("rf/lognorm(0,1)"), get("eps/linear"), get("rf/curriculum(lognorm(0,1),0.5)")]


def batches(setup: Setup) -> Batches:
    return Batches(setup.data, setup.captions, 3, 8, 0.3, CPU)


def expected(setup: Setup) -> list[tuple[Batch, Coeffs]]:
    """Every step by itself."""
    made = batches(setup)
    return [
        (made.at(step), at(coefficients(FORMULATIONS, made, range(step, step + 1), TOTAL), 0))
        for step in range(TOTAL)
    ]


def check(feed: Feed, steps: range, wanted: list[tuple[Batch, Coeffs]]) -> None:
    for step in steps:
        batch, c = feed.at(step)
        for found, exact in zip((*batch, *c), (*wanted[step][0], *wanted[step][1]), strict=True):
            assert torch.equal(found, exact), step


@contextmanager
def ahead(feed: Feed) -> Iterator[Feed]:
    """Draw ahead in a thread, as on a GPU."""
    with ThreadPoolExecutor(1) as thread:
        feed._thread = thread
        yield feed


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("size", [1, 7, 64])
def test_the_chunk_does_not_matter(
    size: int, threaded: bool, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = expected(setup)
    monkeypatch.setattr(module, "CHUNK", size)
    feed = Feed(FORMULATIONS, batches(setup), TOTAL)
    assert feed.size == size
    assert feed._thread is None, "a processor does not compete with itself"
    if threaded:
        with ahead(feed):
            check(feed, range(TOTAL), wanted)
    else:
        check(feed, range(TOTAL), wanted)


@pytest.mark.parametrize("threaded", [False, True])
def test_captions_that_do_not_fit_are_drawn_with_the_rest(
    threaded: bool, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, text = expected(setup), setup.captions
    assert isinstance(text, PaddedCaptions)
    monkeypatch.setattr("bench.machine.resident.RESIDENT", 0)
    ragged = placed([Ragged.of(text.parts, text.tokens, text.pooled)], text.index, CPU)
    made = batches(replace(setup, captions=ragged))
    tokens, pooled = wanted[0][0].tokens, wanted[0][0].pooled
    assert made.step_bytes == wanted[0][0].noise.nbytes + tokens.nbytes + pooled.nbytes
    feed = Feed(FORMULATIONS, made, TOTAL)
    if threaded:
        with ahead(feed):
            check(feed, range(TOTAL), wanted)
    else:
        check(feed, range(TOTAL), wanted)


@pytest.mark.parametrize("threaded", [False, True])
def test_inputs_that_do_not_fit_are_drawn_with_the_rest(
    threaded: bool, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = expected(setup)
    monkeypatch.setattr("bench.machine.resident.RESIDENT", 0)
    made = batches(setup)
    assert made.inputs.kept is None
    feed = Feed(FORMULATIONS, made, TOTAL)
    if threaded:
        with ahead(feed):
            check(feed, range(TOTAL), wanted)
    else:
        check(feed, range(TOTAL), wanted)


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("first", [1, 16, 22, 44])
def test_resumed_is_uninterrupted(
    first: int, threaded: bool, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 16)
    feed, wanted = Feed(FORMULATIONS, batches(setup), TOTAL), expected(setup)
    if threaded:
        with ahead(feed):
            check(feed, range(first, TOTAL), wanted)
    else:
        check(feed, range(first, TOTAL), wanted)


class AtOnce(ThreadPoolExecutor):
    """Draws ahead without a thread: what is drawn is there before it is asked for."""

    def submit(self, function: Any, /, *given: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(function(*given, **named))
        return done


def test_steps_may_be_asked_for_in_any_order(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 8)
    feed, wanted = Feed(FORMULATIONS, batches(setup), TOTAL), expected(setup)
    feed._thread = AtOnce()
    for step in (20, 3, 3, 11, 44, 0, 43, 25, 9):
        check(feed, range(step, step + 1), wanted)


def test_noise_bounds_the_chunk(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    made, wanted = batches(setup), expected(setup)
    assert made.step_bytes == wanted[0][0].noise.nbytes
    for most, size in ((3 * made.step_bytes, 3), (4 * made.step_bytes - 1, 3), (1, 1)):
        monkeypatch.setattr(module, "CHUNK_BYTES", most)
        feed = Feed(FORMULATIONS, made, TOTAL)
        assert feed.size == size
        check(feed, range(5), wanted)


def test_a_chunk_is_drawn_once_and_the_next_one_ahead(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 16)
    made, drawn = batches(setup), list[range]()
    real = made.draw

    def draw(steps: range) -> Draws:
        drawn.append(steps)
        return real(steps)

    monkeypatch.setattr(made, "draw", draw)
    plain = Feed(FORMULATIONS, made, TOTAL)
    for step in range(16):
        plain.at(step)
    assert drawn == [range(16)]
    for step in range(16, TOTAL):
        plain.at(step)
    assert drawn == [range(16), range(16, 32), range(32, TOTAL)]
    drawn.clear()
    with ahead(Feed(FORMULATIONS, made, TOTAL)) as feed:
        feed.at(0)
    assert drawn == [range(16), range(16, 32)], "drawn before they were asked for"
    with ahead(feed):
        for step in range(TOTAL):
            feed.at(step)
    assert drawn == [range(16), range(16, 32), range(32, TOTAL)], "and not again"
