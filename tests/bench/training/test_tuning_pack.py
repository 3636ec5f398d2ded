"""How many members share a graph: what is measured decides. Measurements are tables, and nothing is timed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.machine.clock import Timed
from bench.training import tuning
from bench.training.trainer import Trainer
from bench.training.tuning import CLEARLY, Tuner, Tuning, choose, half

from ..tables import CPU, RECIPE, SHAPE, Cost, Table, Using, chosen, tuner

pytestmark = pytest.mark.usefixtures("own_folder")

COSTS: list[tuple[str, Cost, int, int, list[int]]] = [
    # cost of a step, members that there are, the best pack, what is measured
    ("members share a cost", lambda n: 1 + 0.1 * n, 61, 61, [61, 31]),
    ("twice the members, twice the cost", lambda n: 0.1 * n, 61, 61, [61, 31]),
    ("slower, but not clearly", lambda n: n * (1.09 if n > 4 else 1.0), 8, 8, [8, 4]),
    ("clearly slower", lambda n: n * (1.11 if n > 4 else 1.0), 8, 4, [8, 4, 4, 2]),
    ("worse than alone", lambda n: n**1.5, 12, 1, [12, 6, 6, 3, 3, 2, 2, 1]),
    ("best at four", lambda n: max(1.0, n * n / 16), 16, 4, [16, 8, 8, 4, 4, 2]),
    ("only one", lambda n: 1.0, 1, 1, []),
]


@pytest.mark.parametrize(
    ("cost", "most", "best", "measured"), [c[1:] for c in COSTS], ids=[c[0] for c in COSTS]
)
def test_fewer_members_only_where_they_are_clearly_faster(
    cost: Cost, most: int, best: int, measured: list[int], using: Using
) -> None:
    table = using(Table(cost))
    size, gain = tuner().pack(most)
    assert (size, table.measured) == (best, [f"eager-{size}" for size in measured])
    if most == 1:
        assert gain is None
        return
    expected = 1.0 if size == 1 else (size / cost(size)) / (half(size) / cost(half(size)))
    assert gain == pytest.approx(expected)
    assert gain is not None
    assert gain > 1 / CLEARLY


def test_no_packs_are_timed_for_a_short_training(using: Using) -> None:
    table = using(Table(lambda n: n**2))
    short = replace(RECIPE, steps=tuning.SHORT - 1)
    assert Tuner(SHAPE, short, CPU).pack(6) == (6, None)
    assert table.measured == []
    assert Tuner(SHAPE, RECIPE, CPU).pack(6)[0] == 1


def test_half_is_rounded_up() -> None:
    assert [half(size) for size in (2, 3, 4, 5, 61)] == [1, 2, 2, 3, 31]


def test_a_pack_that_would_not_fit_is_not_tried(using: Using, monkeypatch: pytest.MonkeyPatch) -> None:
    table = using(Table(lambda n: 1.0))
    free = 1.01 * tuner().memory(16) / tuning.MEMORY_SHARE
    monkeypatch.setattr(tuning, "free_memory", lambda device: free)
    assert tuner().pack(61) == (16, 2.0)
    assert table.measured == ["eager-16", "eager-8"]
    monkeypatch.setattr(tuning, "free_memory", lambda device: 0.0)
    assert tuner().pack(61) == (1, None), "one member is always tried"


def test_memory_is_linear_in_members_and_grows_with_the_batch() -> None:
    assert tuner().memory(6) == 6 * tuner().memory(1)
    assert tuner().memory(1) > 4 * 9 * SHAPE.parameters()
    assert tuner(recipe=replace(RECIPE, batch=64)).memory(1) > tuner().memory(1)


def test_out_of_memory_halves_the_pack(using: Using, monkeypatch: pytest.MonkeyPatch) -> None:
    table = using(Table(lambda n: 1.0))

    def alternate(one: Any, other: Any) -> tuple[Timed, ...]:
        if one.func.__self__.members > 8:
            raise torch.cuda.OutOfMemoryError
        return table.alternate(one, other)

    monkeypatch.setattr(tuning, "alternate", alternate)
    assert tuner().pack(16) == (8, 2.0)


def test_the_pack_is_said(using: Using) -> None:
    using(Table(lambda n: 1.0 + 0.25 * n))
    found = chosen(RECIPE.steps, "off", pack=None, cells=12, most=6)
    assert found == Tuning(6, False, 1, ("--pack auto: 6 of 6 in one graph, 1.4 times the throughput of 3",))
    using(Table(lambda n: n**1.5))
    found = choose(replace(SHAPE, width=64), RECIPE, CPU, [(6, RECIPE.steps)] * 2, None, "off")
    assert found == Tuning(1, False, 1, ("--pack auto: 1 of 6 in one graph",))
    assert chosen(1, "off", pack=None) == Tuning(1, False, 1, ()), "a single cell needs no sentence"


def test_a_given_pack_is_obeyed_and_bounded_by_what_there_is(using: Using) -> None:
    table = using(Table(lambda n: 1.0))
    assert chosen(1, "off", pack=4, cells=12, most=6) == Tuning(4, False, 1, ())
    assert chosen(1, "off", pack=64, cells=12, most=6) == Tuning(6, False, 1, ())
    assert table.measured == []


def test_a_real_step_is_what_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Trainer] = []

    def alternate(one: Any, other: Any) -> tuple[Timed, ...]:
        for step in (one, other):
            trainer = step.func.__self__
            before = trainer.flat.weights.clone()
            step()
            assert not torch.equal(trainer.flat.weights, before)
            assert trainer.health.alive.all()
            made.append(trainer)
        return Timed(1.0, 0.0), Timed(1.0, 0.0)

    monkeypatch.setattr(tuning, "alternate", alternate)
    assert tuner().pack(3) == (3, 1.5)
    assert [trainer.model.members for trainer in made] == [3, 2]
    assert all(trainer.recipe == RECIPE for trainer in made)


def test_inputs_have_the_sizes_of_the_work() -> None:
    batch, c = tuning.inputs(SHAPE, 3, 5, CPU)
    assert [tuple(part.shape) for part in batch] == [(5, 3, 16, 16), (5, 3, 16, 16), (5, 4, 16), (5, 8)]
    assert all(part.shape == (3, 5) and part.isfinite().all() for part in c)


def test_free_memory_is_known_here_or_infinite(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tuning.free_memory(CPU) > 0

    def no_file(*given: Any, **named: Any) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", no_file)
    assert tuning.free_memory(CPU) == float("inf")
