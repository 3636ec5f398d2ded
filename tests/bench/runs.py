"""A small grid whose command takes a moment, and what to look at in its run folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import grid

SMALL = [
    "--preset", "smoke", "--formulations", "rf/lognorm(0,1)", "eps/linear", "--train-images", "96",
    "--validation-images", "48", "--steps", "12", "--batch", "8", "--validations", "3", "--validation-batch", "16",
    "--settings", "4:1", "2:5", "--samples", "12", "--lr", "0.01", "--ema", "0.5", "--device", "cpu", "--pack", "2",
]  # fmt: skip
OFTEN = ["--checkpoint", "1e-9"]
"""A checkpoint after the first step, and then as often as it is cheap."""


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Everything in the cells of a run folder: when it was written, and what it holds."""
    return {
        str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes())
        for p in sorted((folder / "cells").rglob("*"))
        if p.is_file()
    }


def written(folder: Path, pattern: str) -> dict[Path, int]:
    """When the files of cells were written."""
    return {p: p.stat().st_mtime_ns for p in folder.glob(f"cells/*/{pattern}")}


def cell_of(folder: Path, formulation: str) -> Path:
    """The folder of the only cell of a formulation."""
    (found,) = (
        file.parent
        for file in folder.glob("cells/*/config.json")
        if json.loads(file.read_text())["cell"]["formulation"] == formulation
    )
    return found


def metrics(cell: Path) -> list[dict[str, Any]]:
    """A cell's lines of metrics, without the only thing in them that two runs do not share."""
    lines = [json.loads(line) for line in (cell / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def trainings(cell: Path) -> int:
    """How often a cell's training was begun or gone on with, by its log."""
    words = [line.partition(" ")[2] for line in (cell / "log.txt").read_text().splitlines()]
    return sum(word.startswith("training ") for word in words)


def start(argv: list[str], **environment: str) -> subprocess.Popen[str]:
    """The command in a process group of its own, as a shell starts it; Ctrl-C counts even if these tests ignore it."""
    return subprocess.Popen(
        [sys.executable, "-m", "bench.grid", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """The finished command."""
    try:
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def stopped(process: subprocess.Popen[str], number: signal.Signals) -> subprocess.CompletedProcess[str]:
    """The command after a signal to its process group, which is what Ctrl-C does."""
    os.killpg(process.pid, number)
    return ended(process)


def run(argv: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return ended(start(argv, **environment))


def wait_for(process: subprocess.Popen[str], there: Callable[[], bool]) -> None:
    """Until something is so; fails if the command ends before, or it takes minutes."""
    until = time.monotonic() + 120
    while not there():
        if process.poll() is not None or time.monotonic() > until:
            raise AssertionError(f"it did not happen: {ended(process).stderr}")
        time.sleep(0.01)


def both(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The last line of a run and of its dry run, which must be alike."""
    said = []
    for look in ([], ["--dry-run"]):
        assert grid.main([*SMALL, *arguments, *look]) == 2
        said.append(capsys.readouterr().err.splitlines()[-1])
    assert said[0] == said[1]
    assert "--out" not in arguments or not Path(arguments[arguments.index("--out") + 1]).exists(), (
        "nothing was begun"
    )
    return said[0]
