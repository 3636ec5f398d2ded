"""``--track NAME``: what is logged of a cell, that nothing else changes, and what happens where a service fails."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from bench import grid, plugins, tracking
from bench.config.experiment import Cell
from bench.tracking import About, Tracked, Tracker
from flowbench._core import atomic

from ..runs import SMALL, cell_of

ARGV = [*SMALL, "--steps", "6", "--validations", "3", "--weights", "ema", "--compile", "off"]


class Memory:
    """Keeps what is logged."""

    def __init__(self, about: About) -> None:
        self.about, self.finished = about, False
        self.logged: list[tuple[int, dict[str, float]]] = []

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.logged.append((step, dict(values)))

    def finish(self) -> None:
        self.finished = True


@pytest.fixture
def memory() -> list[Memory]:
    """The logs that the tracker ``memory`` was asked for."""
    logs: list[Memory] = []

    @tracking.register("memory")
    def keep() -> Tracker:
        def start(about: About) -> Memory:
            logs.append(Memory(about))
            return logs[-1]

        return Tracker(start)

    return logs


def lines(cell: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (cell / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.usefixtures("here")
def test_a_run_a_cell_has_its_losses_and_metrics_and_changes_no_number(
    memory: list[Memory], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for out, more in (("plain", []), ("tracked", ["--track", "memory"])):
        assert grid.main([*ARGV, *more, "--out", str(tmp_path / out)]) == 0
    assert all(log.finished for log in memory)
    for name in ("eps/linear", "rf/lognorm(0.00,1.00)"):
        cell, plain = cell_of(tmp_path / "tracked", name), cell_of(tmp_path / "plain", name)
        assert cell.name == plain.name
        assert (cell / "ema.safetensors").read_bytes() == (plain / "ema.safetensors").read_bytes()
        training, measuring = (log for log in memory if log.about.id == cell.name)
        assert training.about.config["formulation"] == name
        assert (training.about.step, measuring.about.step) == (0, 6)
        assert training.about.name == measuring.about.name
        kept = lines(cell)
        assert [step for step, _ in training.logged] == [2, 4, 6]
        assert [v["validation/loss"] for _, v in training.logged] == [line["val_loss"] for line in kept]
        assert [v["train/loss"] for _, v in training.logged] == [line["train_loss"] for line in kept]
        assert all(v["train/steps_per_second"] > 0 for _, v in training.logged)
        (result,) = cell.glob("*/result.json")
        ((step, values),) = measuring.logged
        assert step == 6
        for setting, measured in atomic.read_object(result)["settings"].items():
            assert values[f"fid/{setting}"] == measured["fid"]
            assert f"steps/{setting}" not in values
    logs = len(memory)
    for limit in ([], ["--minutes", "1", "--seeds", "1"]):
        capsys.readouterr()
        assert grid.main([*ARGV, *limit, "--track", "memory", "--out", str(tmp_path / "tracked")]) == 0
        assert "nothing is tracked" in capsys.readouterr().err
    assert len(memory) == logs


def test_a_training_that_continues_adds_to_its_log(memory: list[Memory], tmp_path: Path) -> None:
    before = {"step": 10, "seconds": 2.0, "train_loss": 1.0, "val_loss": 0.5}
    after = {"step": 20, "seconds": 6.0, "train_loss": None, "val_loss": 0.4}
    with Tracked("memory", [Cell("rf", "images:/a/b c")], tmp_path, 10, pytest.fail) as live:
        live.validated(0, [before])
        live.validated(0, [before, after])
    (log,) = memory
    assert log.about.step == 10
    assert log.about.name.startswith("rf-images-a-b-c-seed0-")
    assert log.logged == [(20, {"validation/loss": 0.4, "train/steps_per_second": 2.5})]


@pytest.mark.parametrize("where", ["start", "log", "finish"])
def test_a_service_that_fails_ends_tracking_and_nothing_else(where: str, tmp_path: Path) -> None:
    class Broken(Memory):
        def __init__(self, about: About) -> None:
            super().__init__(about)
            self.fail("start")

        def fail(self, at: str) -> None:
            if at == where:
                raise ConnectionError("no\nnetwork")

        def log(self, step: int, values: Mapping[str, float]) -> None:
            self.fail("log")

        def finish(self) -> None:
            self.fail("finish")

    tracking.register("broken")(lambda: Tracker(Broken))
    said: list[str] = []
    line = {"step": 10, "seconds": 2.0, "train_loss": 1.0, "val_loss": 0.5}
    with Tracked("broken", [Cell("rf", "digits"), Cell("v/cos", "digits")], tmp_path, 0, said.append) as live:
        for member in (0, 1):
            live.validated(member, [])
            live.validated(member, [line])
    assert said == ["--track broken ends here: ConnectionError: no network"]


def test_mistakes_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tracking.register("absent")(lambda: Tracker(Memory, "no_such_package"))
    for argv, message in (
        (["--track", "tensorbord"], "--track 'tensorbord': did you mean 'tensorboard'"),
        (["--track", "absent"], "the package 'no_such_package' is not installed"),
        (["--track", "tensorboard", "--status"], "--track does nothing"),
    ):
        assert grid.main([*ARGV, *argv, "--out", str(tmp_path / "run")]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert message in error
        assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The scalars in the event files of a folder: step and value by name."""
    files = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    found = files.EventAccumulator(str(folder))
    found.Reload()
    return {name: [(e.step, e.value) for e in found.Scalars(name)] for name in found.Tags()["scalars"]}


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
@pytest.mark.usefixtures("here")
def test_tensorboard_has_the_losses_and_metrics(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert grid.main([*ARGV, "--track", "tensorboard", "--out", str(out)]) == 0
    assert len(list((out / "tensorboard").iterdir())) == 2
    for name in ("eps/linear", "rf/lognorm(0.00,1.00)"):
        cell = cell_of(out, name)
        (folder,) = (out / "tensorboard").glob(f"*{cell.name}")
        found = read(folder)
        wanted = [(line["step"], pytest.approx(line["val_loss"])) for line in lines(cell)]
        assert found["validation/loss"] == wanted
        assert [step for step, _ in found["train/steps_per_second"]] == [2, 4, 6]
        (result,) = cell.glob("*/result.json")
        for setting, measured in atomic.read_object(result)["settings"].items():
            assert found[f"fid/{setting}"] == [(6, pytest.approx(measured["fid"]))]


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_tensorboard_keeps_one_value_a_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After an interruption the steps since the checkpoint come again; a training from the start forgets the earlier one."""
    start = tracking.get("tensorboard").start
    for first, last in ((0, 30), (20, 50)):
        log = start(About(tmp_path, "c", "cell", {}, first))
        for step in range(first + 10, last + 1, 10):
            log.log(step, {"validation/loss": step + first})
        log.finish()
    found = read(tmp_path / "tensorboard" / "cell")
    assert found["validation/loss"] == [(10, 10), (20, 20), (30, 50), (40, 60), (50, 70)]
    log = start(About(tmp_path, "c", "cell", {}, 0))
    log.log(10, {"validation/loss": 1})
    log.finish()
    assert read(tmp_path / "tensorboard" / "cell")["validation/loss"] == [(10, 1)]
    assert plugins.main(["check", "tracker", "tensorboard"]) == 0
    assert "tracker tensorboard: ok" in capsys.readouterr().out
