"""The command is interrupted, and continues; another one on the same folder does not work double."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import grid

from .runs import OFTEN, SMALL, metrics, start, stopped, wait_for

LONG = [*SMALL, *OFTEN, "--steps", "200"]
ENDLESS = [*SMALL, *OFTEN, "--steps", "1000000", "--compile", "off"]


def steps(out: Path) -> list[int]:
    """The newest step at which each cell has a checkpoint."""
    cells = list(out.glob("cells/*"))
    found = [[int(p.stem.partition("-")[2]) for p in cell.glob("checkpoint-*")] for cell in cells]
    return [max(each, default=0) for each in found]


def beyond(out: Path, step: int) -> Callable[[], bool]:
    """Whether both cells have a checkpoint after ``step``."""
    return lambda: len(steps(out)) == 2 and min(steps(out)) > step


def state(out: Path) -> dict[str, object]:
    """What the last supervisor wrote."""
    file = max(out.glob("submissions/*/share-0000.json"), key=lambda p: p.stat().st_mtime_ns)
    found: dict[str, object] = json.loads(file.read_text())
    return found


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "numbers", [(signal.SIGINT,), pytest.param((signal.SIGTERM, signal.SIGINT), marks=pytest.mark.long)]
)
def test_an_interrupted_run_continues_as_if_nothing_had_happened(
    numbers: tuple[signal.Signals, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C, once or after SIGTERM; what comes out is what an uninterrupted run leaves, bit for bit."""
    out, whole, step = tmp_path / "run", tmp_path / "whole", 0
    for number in numbers:
        process = start([*LONG, "--out", str(out)])
        wait_for(process, beyond(out, step))
        done = stopped(process, number)
        assert done.returncode == 130, done.stderr
        assert done.stderr.splitlines()[-1].startswith("interrupted: the same command again runs only")
        assert (state(out)["state"], state(out)["error"]["message"]) == ("saved", number.name)
        assert not list(out.glob("cells/*/lease.json"))
        assert not list(out.glob("cells/*/status.json"))
        assert len(set(steps(out))) == 1, "the cells of a pack stop at the same step"
        assert f"stopped after step {steps(out)[0]}" in done.stderr
        assert steps(out)[0] > step
        step = steps(out)[0]
    assert grid.main([*LONG, "--out", str(out)]) == 0
    assert f"continuing at step {step}" in capsys.readouterr().err
    assert not list(out.glob("cells/*/checkpoint-*"))
    last = max(out.glob("submissions/*/beat-0000.json"), key=lambda p: p.stat().st_mtime_ns)
    beat = json.loads(last.read_text())
    assert beat["resumed"] == pytest.approx(step / 200), "what it did not do itself"
    assert beat["threads"] == 1

    assert grid.main([*LONG, "--out", str(whole)]) == 0
    same = [
        path.relative_to(whole)
        for pattern in ("cells/*/*.safetensors", "cells/*/*/*.safetensors", "real-scores/*/*")
        for path in whole.glob(pattern)
    ]
    assert len(same) == 2 * (2 + 4 + 1) + 2
    assert all((out / path).read_bytes() == (whole / path).read_bytes() for path in same)
    for cell in whole.glob("cells/*"):
        assert metrics(out / "cells" / cell.name) == metrics(cell)
        assert (out / "cells" / cell.name / "log.txt").read_text().count("continuing at step") == len(numbers)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder where a command trains and does not come to an end."""
    out = tmp_path_factory.mktemp("runs") / "busy"
    process = start([*ENDLESS, "--out", str(out)])
    try:
        wait_for(process, beyond(out, 0))
        yield out
    finally:
        assert stopped(process, signal.SIGTERM).returncode == 130


@pytest.mark.long
def test_a_second_command_does_not_work_double(busy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert grid.main([*ENDLESS, "--out", str(busy)]) == 0
    assert "nothing to submit: 2 running" in capsys.readouterr().err
    assert len(list((busy / "submissions").iterdir())) == 1
    assert state(busy)["state"] == "running"


@pytest.mark.long
@pytest.mark.usefixtures("here")
def test_another_grid_is_run_next_to_it(busy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert grid.main([*SMALL, "--formulations", "v/cos", "--out", str(busy)]) == 0
    assert "v/cos" in capsys.readouterr().out
    assert grid.main([*ENDLESS, "--out", str(busy)]) == 0
    assert "nothing to submit: 2 running" in capsys.readouterr().err
