"""``--minutes``: as many seeds as fit, by the clock alone; what time cuts off is kept and ranked later."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import grid as command_line
from bench.cli.parser import parse
from bench.config.experiment import MOST_SEEDS
from bench.driver import run_local as local_run
from bench.driver import run_summary, seed_by_seed
from bench.launch.codes import Ending
from bench.launch.pool import Pool
from bench.machine import stage_timer
from bench.planning import plan
from bench.planning.plan import Plan
from flowbench._core.errors import UserError

from ..conftest import run_here
from ..runs import OFTEN, SMALL, metrics

ONE = [*SMALL, "--formulations", "rf", "eps/cos", "--steps", "2", "--validations", "1", "--compile", "off"]


class Timer:
    """A clock that only a run of shares moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def seeds(here: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[float | None]]:
    """Runs the command where every seed takes given seconds; returns the time at which each was to be cut off."""
    timer, usual = Timer(), local_run.run_shares
    monkeypatch.setattr(seed_by_seed, "time", timer)
    monkeypatch.setattr(stage_timer, "time", timer)
    monkeypatch.setattr(
        run_summary, "timings", lambda command, workers: command.report()
    )  # workers have real clocks

    def command(argv: list[str], *seconds: float) -> list[float | None]:
        left, cuts = list(seconds), []

        def run_shares(planned: Plan, submission: Any, new: bool, until: float | None) -> Plan:
            timer.now += left.pop(0)
            cuts.append(None if until is None else until - began)
            return usual(planned, submission, new)

        began = timer.now
        monkeypatch.setattr(command_line, "STARTED", began)
        monkeypatch.setattr(local_run, "run_shares", run_shares)
        assert command_line.main(argv) == 0
        assert not left, "a seed that was to be run was not"
        return cuts

    return command


def ranked(out: Path) -> int:
    """The seeds of the plan in a run folder."""
    found: int = json.loads((out / "grid.json").read_text())["grid"]["seeds"]
    return found


def test_seeds_are_run_while_one_more_fits(seeds: Any, tmp_path: Path, capsys: Any) -> None:
    argv = [*ONE, "--out", str(tmp_path / "run"), "--minutes", "4"]
    assert seeds(argv, 70, 80, 75) == [None, 300, 300], "225 s are over, and the slowest took 80"
    assert ranked(tmp_path / "run") == 3
    assert "3 seeds" in capsys.readouterr().out
    spent = json.loads((tmp_path / "run" / "timings.json").read_text())
    assert (spent["start-up"], spent["total"]) == (0, 225), "what a seed takes is no start-up of the next"
    assert seeds(argv, 130) == [300], "the same command again has four more minutes"
    assert ranked(tmp_path / "run") == 4
    assert seeds([*argv, "--seeds", "4"]) == [], "at most"


def test_the_first_seed_is_finished_whatever_it_takes(seeds: Any, tmp_path: Path) -> None:
    assert seeds([*ONE, "--out", str(tmp_path), "--minutes", "1"], 500) == [None]
    assert ranked(tmp_path) == 1


def test_a_seed_that_is_cut_off_is_not_ranked_and_kept(
    here: None, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv, usual = [*ONE, "--out", str(tmp_path), "--minutes", "4"], Pool.run

    def cut(self: Pool, watch: Callable[[], None]) -> dict[int, Ending]:
        if self.submission.grid.seeds == 1:
            return usual(self, watch)
        for cell in self.submission.shares[0].cells:
            (tmp_path / "cells" / cell).mkdir()
        self.endings[0], self.failures[0] = "saved", None
        watch()
        return self.endings

    monkeypatch.setattr(Pool, "run", cut)
    monkeypatch.setattr(command_line, "STARTED", time.perf_counter())
    monkeypatch.setattr(seed_by_seed, "GRACE", -1.0)  # the second seed's time is over when it begins
    assert command_line.main(argv) == 0
    assert ranked(tmp_path) == 1
    printed = capsys.readouterr()
    assert "seed 1 is begun and not in these tables: the same command continues it" in printed.err
    assert "error" not in printed.err
    assert "1 seed" in printed.out
    assert "other configurations" not in printed.out
    monkeypatch.undo()
    assert seed_by_seed.begun(parse(argv).grid, tmp_path).seeds == 2, "which the next command continues"


class Impatient:
    """The system's clock, until a checkpoint of a given seed is there: from then on, all time is over."""

    def __init__(self, out: Path, seed: int) -> None:
        self.out, self.seed = out, seed
        self.sleep, self.monotonic = time.sleep, time.monotonic

    def perf_counter(self) -> float:
        found = self.out.glob("cells/*/checkpoint-*.safetensors")
        configs = (json.loads((file.parent / "config.json").read_text()) for file in found)
        over = any(config["cell"]["seed"] == self.seed for config in configs)
        return float("inf") if over else time.perf_counter()


def test_a_seed_that_time_cut_off_is_continued_to_the_same_results(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real worker is stopped in mid training; then the same command again, and another in one go."""
    out, whole = tmp_path / "run", tmp_path / "whole"
    argv = [*ONE, *OFTEN, "--steps", "90", "--formulations", "rf", "--settings", "2:1", "--samples", "8"]
    argv += ["--weights", "ema", "--train-images", "32", "--minutes", "60", "--seeds", "2"]
    with monkeypatch.context() as patch:
        run_here(patch)
        assert command_line.main([*argv, "--seeds", "1", "--out", str(out)]) == 0
        shutil.copytree(out, whole)
        assert command_line.main([*argv, "--out", str(whole)]) == 0
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(local_run, "time", Impatient(out, seed=1))
        assert command_line.main([*argv, "--out", str(out)]) == 0
    printed = capsys.readouterr().err
    assert "seed 1 is begun and not in these tables: the same command continues it" in printed
    assert ranked(out) == 1
    assert list(out.glob("cells/*/checkpoint-*"))
    with monkeypatch.context() as patch:
        run_here(patch)
        assert command_line.main([*argv, "--out", str(out)]) == 0
    assert "continuing at step" in capsys.readouterr().err
    assert ranked(out) == 2
    cells = list(whole.glob("cells/*"))
    assert len(cells) == 2
    for cell in cells:
        assert metrics(out / "cells" / cell.name) == metrics(cell)
    weights = [path.relative_to(whole) for path in whole.glob("cells/**/*.safetensors")]
    assert len(weights) == 2 * 4, "weights and images"
    assert all((out / path).read_bytes() == (whole / path).read_bytes() for path in weights)


def test_finished_seeds_are_counted_from_the_first(tmp_path: Path) -> None:
    planned = plan.make(replace(parse(ONE).grid, seeds=3, first_seed=7), tmp_path)
    done = [replace(p, state="done") if p.cell.seed != 9 else p for p in planned.cells]
    assert seed_by_seed.finished(replace(planned, cells=tuple(done))) == 2
    assert seed_by_seed.finished(planned) == 0
    for p in planned.cells:
        if p.cell.seed < 9:
            p.folder.mkdir(parents=True)
    assert seed_by_seed.begun(replace(planned.grid, seeds=9), tmp_path).every_seed == range(7, 9)
    assert seed_by_seed.begun(replace(planned.grid, seeds=1), tmp_path).every_seed == range(7, 8)


def test_minutes_are_the_default_of_quick_alone() -> None:
    assert parse([]).minutes == 4
    assert parse([]).grid.seeds == MOST_SEEDS
    assert parse(["--seeds", "3"]).minutes is None
    assert parse(["--seeds", "3"]).grid.seeds == 3
    assert (parse(["--seeds", "3", "--minutes", "2"]).minutes, parse(["--preset", "smoke"]).minutes) == (
        2,
        None,
    )
    assert parse(["--executor", "slurm"]).minutes is None
    found = parse(["--minutes", "3", "--confirm", "2"])
    assert (found.minutes, found.confirm) == (3, 2), "the seeds of the grid come first, for so long"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--minutes", "0"], "greater than 0"),
        (["--minutes", "-3"], "--minutes -3: must be a number greater than 0"),
        (["--minutes", "nan"], "greater than 0"),
        (["--minutes", "1e7"], "less than a million"),
        (["--minutes", "4", "--executor", "slurm"], "choose --seeds"),
    ],
)
def test_mistakes(argv: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse(argv)
