"""What is measured decides: members in one graph, compiled or not. Measurements here are tables, and nothing is timed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import tuning
from bench.config import Training
from bench.models.shape import Shape
from bench.train import Trainer
from bench.tuning import CLEARLY, EXPECTED, PATIENCE, Choice, Tuner, Tuning, cache_folder, choose, half
from samplers.errors import UserError

CPU = torch.device("cpu")
SHAPE = Shape(1, 32, 2, 4, 16, 3, text_length=4, text_width=16, pooled_width=8)
RECIPE = Training(steps=1_000, batch=4)

Cost = Callable[[int], float]


class Stub:
    """Stands for a :class:`Trainer`: all that matters of it is what it trains, and whether it is compiled."""

    def __init__(self, shape: Shape, members: int, *given: Any, compiled: bool = False) -> None:
        self.members, self.compiled = members, compiled

    def step(self, *given: Any) -> None: ...

    def release(self) -> None: ...


class Table:
    """Stands for measuring: seconds of a step by its members, and a list of what was measured."""

    def __init__(self, eager: Cost, compiled: Cost = lambda n: 1.0, first: float = 30.0) -> None:
        self.eager, self.compiled, self.first = eager, compiled, first
        self.measured: list[str] = []

    def alternate(self, one: Any, other: Any) -> tuple[float, float]:
        found = []
        for stub in dict.fromkeys([one.func.__self__, other.func.__self__]):
            self.measured.append(f"{'compiled' if stub.compiled else 'eager'}-{stub.members}")
            found.append((self.compiled if stub.compiled else self.eager)(stub.members))
        return found[0], found[-1]

    def seconds(self, function: Any) -> float:
        assert function.func.__self__.compiled, "only a first compiled step is timed by itself"
        return self.first


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "Python.h").touch()
    monkeypatch.setattr(tuning.sysconfig, "get_path", lambda name: str(tmp_path / "include"))


Using = Callable[[Table], Table]


@pytest.fixture
def using(monkeypatch: pytest.MonkeyPatch) -> Using:
    """Measure by a table, on a machine with enough memory."""

    def use(table: Table) -> Table:
        monkeypatch.setattr(tuning, "Trainer", Stub)
        monkeypatch.setattr(tuning, "alternate", table.alternate)
        monkeypatch.setattr(tuning, "seconds", table.seconds)
        monkeypatch.setattr(tuning, "free_memory", lambda device: float("inf"))
        monkeypatch.setattr(torch.compiler, "reset", lambda: None)
        return table

    return use


def tuner(shape: Shape = SHAPE, recipe: Training = RECIPE) -> Tuner:
    return Tuner(shape, recipe, CPU)


def files() -> list[Path]:
    return sorted(cache_folder(None).rglob("*.json"))


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


WRONG: list[Any] = [None, "x", [], {}, [1.0, 2.0], [1.0, None, 2.0], [[1.0], 2.0, 3.0]]


@pytest.mark.parametrize("value", WRONG, ids=str)
def test_a_file_that_holds_something_else_is_measured_again(value: Any, using: Using) -> None:
    """As after an edit by hand, or in another version's format."""
    table = using(Table(lambda n: 1.0, lambda n: 0.5, first=7.0))
    tuner().eager(2)
    (file,) = files()
    kept = json.loads(file.read_text())
    pairs = isinstance(value, list) and value == [1.0, 2.0]
    file.write_text(
        json.dumps(kept | {"eager-2": value, "compiled-2": value, "pack-2": None if pairs else value})
    )
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


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name == "c++" else None)


def chosen(
    steps: int, choice: Choice = "auto", pack: int | None = 1, cells: int = 1, most: int = 1
) -> Tuning:
    return choose(SHAPE, replace(RECIPE, steps=steps), CPU, cells, most, pack, choice)


ENOUGH = int(PATIENCE * EXPECTED["cpu"])
"""Steps of one second after which compiling is tried."""


@pytest.mark.usefixtures("compiler")
def test_a_short_run_never_compiles(using: Using) -> None:
    table = using(Table(lambda n: 1.0, lambda n: 0.001, first=0.001))
    found = chosen(ENOUGH - 1)
    assert found.compiled is False
    assert table.measured == ["eager-1"]
    assert found.said == (
        f"--compile auto: off, {ENOUGH - 1} s of eager steps are too few for compiling to pay",
    )


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize(
    ("step", "first", "pays"),
    [(0.5, 0.49 * ENOUGH, True), (0.5, 0.51 * ENOUGH, False), (1.0, 1.0, False), (2.0, 0.0, False)],
)
def test_a_long_run_compiles_if_that_was_measured_to_pay(
    step: float, first: float, pays: bool, using: Using
) -> None:
    table = using(Table(lambda n: 1.0, lambda n: step, first))
    found = chosen(ENOUGH)
    assert found.compiled is pays
    assert table.measured == ["eager-1", "eager-1", "compiled-1"]
    assert found.said == (
        f"--compile auto: {'on' if pays else 'off'}, {1000 * step:.3g} ms a step instead of 1e+03 ms, "
        f"over {ENOUGH} steps, for {first:.0f} s at the start",
    )


@pytest.mark.usefixtures("compiler")
def test_a_measurement_that_is_there_decides_for_short_runs_too(
    using: Using, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table = using(Table(lambda n: 1.0, lambda n: 0.5, first=20.0))
    assert chosen(ENOUGH).compiled
    table.measured.clear()
    assert [chosen(steps).compiled for steps in (30, 39, 41)] == [False, False, True]
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "emptied"))
    assert not chosen(41).compiled, "without the compiled code it would last longer than was measured"
    assert table.measured == []


@pytest.mark.usefixtures("compiler")
def test_the_first_step_is_timed_with_code_that_is_in_the_cache(
    using: Using, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = using(Table(lambda n: 1.0))
    events: list[str] = []

    def noting(event: str, result: Any = None) -> Callable[..., Any]:
        def note(*given: Any) -> Any:
            events.append(event)
            return result

        return note

    monkeypatch.setattr(Stub, "step", noting("step"))
    monkeypatch.setattr(torch.compiler, "reset", noting("reset"))
    monkeypatch.setattr(tuning, "seconds", noting("timed", 5.0))
    assert tuner().compiled(1).first == 5.0
    assert events == ["timed", "reset", "timed"]
    assert table.measured == ["eager-1", "compiled-1"]


@pytest.mark.usefixtures("compiler")
def test_the_run_is_as_long_as_all_its_packs(using: Using) -> None:
    using(Table(lambda n: 1.0, lambda n: 0.5, first=20.0))
    assert not chosen(ENOUGH // 3, pack=2, cells=4, most=2).compiled, "two packs"
    assert chosen(ENOUGH // 3, pack=2, cells=5, most=2).compiled, "three"


@pytest.mark.usefixtures("compiler")
def test_on_and_off_are_obeyed_without_measuring(using: Using) -> None:
    table = using(Table(lambda n: 1.0))
    assert chosen(1, "on") == Tuning(1, True, ())
    assert chosen(10**9, "off") == Tuning(1, False, ())
    assert table.measured == []


def test_without_a_compiler_on_is_refused_and_auto_says_so(
    using: Using, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = using(Table(lambda n: 1.0))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    for name in ("", "g++-99"):
        monkeypatch.setenv("CXX", name)
        with pytest.raises(
            UserError, match=r"--compile on: there is no C\+\+ compiler here: use '--compile off'"
        ):
            chosen(1, "on")
        assert chosen(10**9) == Tuning(1, False, ("--compile auto: off, there is no C++ compiler here",))
    assert table.measured == []
    monkeypatch.setattr(shutil, "which", lambda name: name if name == "g++-99" else None)
    assert chosen(1, "on").compiled, "CXX names one"
    with pytest.raises(UserError, match="not used on mps"):
        choose(SHAPE, RECIPE, torch.device("mps"), 1, 1, 1, "on")


def test_the_pack_is_said(using: Using) -> None:
    using(Table(lambda n: 1.0 + 0.25 * n))
    found = chosen(RECIPE.steps, "off", pack=None, cells=12, most=6)
    assert found == Tuning(6, False, ("--pack auto: 6 of 6 in one graph, 1.4 times the throughput of 3",))
    using(Table(lambda n: n**1.5))
    found = choose(replace(SHAPE, width=64), RECIPE, CPU, 12, 6, None, "off")
    assert found == Tuning(1, False, ("--pack auto: 1 of 6 in one graph",))
    assert chosen(1, "off", pack=None) == Tuning(1, False, ()), "a single cell needs no sentence"


def test_a_given_pack_is_obeyed_and_bounded_by_what_there_is(using: Using) -> None:
    table = using(Table(lambda n: 1.0))
    assert chosen(1, "off", pack=4, cells=12, most=6) == Tuning(4, False, ())
    assert chosen(1, "off", pack=64, cells=12, most=6) == Tuning(6, False, ())
    assert table.measured == []


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("named", [None, "/elsewhere"])
def test_compiled_code_is_kept_beside_the_measurements(
    named: str | None, using: Using, monkeypatch: pytest.MonkeyPatch
) -> None:
    using(Table(lambda n: 1.0))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    if named:
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", named)
    chosen(1, "on")
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == (named or str(cache_folder(None) / "inductor"))


def test_a_real_step_is_what_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Trainer] = []

    def alternate(one: Any, other: Any) -> tuple[float, float]:
        for step in (one, other):
            trainer = step.func.__self__
            before = trainer.flat.weights.clone()
            step()
            assert not torch.equal(trainer.flat.weights, before)
            assert trainer.health.alive.all()
            made.append(trainer)
        return 1.0, 1.0

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


@pytest.mark.usefixtures("compiler")
def test_a_compiler_that_fails_leaves_training_eager(using: Using, monkeypatch: pytest.MonkeyPatch) -> None:
    using(Table(lambda n: 1.0))

    def broken(function: Callable[[], None]) -> float:
        raise RuntimeError("no OpenMP here")

    monkeypatch.setattr(tuning, "seconds", broken)
    found = chosen(10**6)
    assert found == Tuning(1, False, ("--compile auto: off, compiling failed here (RuntimeError)",))


def test_out_of_memory_halves_the_pack(using: Using, monkeypatch: pytest.MonkeyPatch) -> None:
    table = using(Table(lambda n: 1.0))

    def alternate(one: Any, other: Any) -> tuple[float, float]:
        if one.func.__self__.members > 8:
            raise torch.cuda.OutOfMemoryError
        return table.alternate(one, other)

    monkeypatch.setattr(tuning, "alternate", alternate)
    assert tuner().pack(16) == (8, 2.0)


def test_compiling_needs_pythons_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(tuning.sysconfig, "get_path", lambda name: str(tmp_path))
    assert tuning.obstacle(CPU) == "Python's headers are not installed here"
    (tmp_path / "Python.h").touch()
    assert tuning.obstacle(CPU) is None
