"""Whether models are compiled: what is measured decides. Measurements are tables, and nothing is timed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.training import tuning
from bench.training.tuning import EXPECTED, PATIENCE, Tuning, cache_folder, choose
from flowbench._core.errors import UserError

from ..tables import CPU, RECIPE, SHAPE, Stub, Table, Using, chosen, tuner

pytestmark = pytest.mark.usefixtures("own_folder")

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
    assert chosen(1, "on") == Tuning(1, True, 1, ())
    assert chosen(10**9, "off") == Tuning(1, False, 1, ())
    assert table.measured == []


@pytest.mark.usefixtures("compiler")
def test_a_compiler_that_fails_leaves_training_eager(using: Using, monkeypatch: pytest.MonkeyPatch) -> None:
    using(Table(lambda n: 1.0))

    def broken(function: Callable[[], None]) -> float:
        raise RuntimeError("no OpenMP here")

    monkeypatch.setattr(tuning, "seconds", broken)
    found = chosen(10**6)
    assert found == Tuning(1, False, 1, ("--compile auto: off, compiling failed here (RuntimeError)",))


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
        assert chosen(10**9) == Tuning(1, False, 1, ("--compile auto: off, there is no C++ compiler here",))
    assert table.measured == []
    monkeypatch.setattr(shutil, "which", lambda name: name if name == "g++-99" else None)
    assert chosen(1, "on").compiled, "CXX names one"
    with pytest.raises(UserError, match="not used on mps"):
        choose(SHAPE, RECIPE, torch.device("mps"), [(1, 1)], 1, "on")


def test_compiling_needs_pythons_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(tuning.sysconfig, "get_path", lambda name: str(tmp_path))
    assert tuning.obstacle(CPU) == "Python's headers are not installed here"
    (tmp_path / "Python.h").touch()
    assert tuning.obstacle(CPU) is None


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("named", [None, "/elsewhere"])
def test_compiled_code_is_kept_with_the_measurements(
    named: str | None, using: Using, monkeypatch: pytest.MonkeyPatch
) -> None:
    using(Table(lambda n: 1.0))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    if named:
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", named)
    chosen(1, "on")
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == (named or str(cache_folder(None) / "inductor"))
