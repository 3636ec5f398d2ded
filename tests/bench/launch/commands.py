"""The command on a tiny grid, with formulations that do to a training what a test wants."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flowbench._core import plugin
from flowbench._core.registry import KINDS
from formulations import specs

PLUGIN = """
import os
import signal
import subprocess
import time
from pathlib import Path

from bench.training import feed
from formulations import Formulation, register

HERE = Path(os.environ["FLOWBENCH_TEST"])
feed.CHUNK = 8


def late(at):
    \"\"\"Whether the last steps of a training are drawn.\"\"\"
    return tuple(at.t.shape) == (7, 8)


def made(weight):
    return Formulation(path=lambda t: (1 - t, t), target=lambda at: (at.da, at.db), weight=weight)


@register("my/held")
def held() -> Formulation:
    def weight(at):
        if late(at):
            (HERE / "reached").touch()
            while (HERE / "hold").exists():
                time.sleep(0.005)
            if (HERE / "script").exists():
                subprocess.run(["sh", HERE / "script"])
        return 1 + at.t

    return made(weight)


@register("my/raises")
def raises() -> Formulation:
    def weight(at):
        if late(at):
            raise ValueError("a bad day")
        return 1 + at.t

    return made(weight)


@register("my/diverges")
def diverges() -> Formulation:
    def weight(at):
        weights = 1 + at.t
        if late(at):
            weights[3:] = float("nan")
        return weights

    return made(weight)


@register("my/dies")
def dies() -> Formulation:
    def weight(at):
        if late(at) and not (HERE / "memory").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return 1 + at.t

    return made(weight)
"""
DRAWN = 8
"""Steps, of 8 images each, that are drawn at once: a formulation of the plugin is asked again after so many."""
STEPS = DRAWN + 7


def command(here: Path, out: Path, *formulations: str) -> list[str]:
    """The command line of a tiny grid."""
    small = "--preset smoke --train-images 32 --validation-images 16 --batch 8 --validations 3 --settings 2:1"
    small += " --validation-batch 16 --weights ema --samples 4 --device cpu --compile off --checkpoint 1e-9"
    return [
        *small.split(), "--steps", str(STEPS), "--plugin", str(here / "mine.py"),
        "--formulations", *formulations, "--out", str(out),
    ]  # fmt: skip


def start(argv: list[str]) -> subprocess.Popen[str]:
    """The command in a session of its own, as a shell starts it."""
    program = [sys.executable, "-m", "bench.grid", *argv]
    pipe = subprocess.PIPE
    return subprocess.Popen(program, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def until(there: Callable[[], Any], process: subprocess.Popen[str]) -> float:
    """Seconds until something is so."""
    began = time.monotonic()
    while not there():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < began + 120
        time.sleep(0.005)
    return time.monotonic() - began


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and what was said on stderr."""
    try:
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, said


def sentences(said: str) -> list[str]:
    """The sentences of a command that went wrong, without what it logged on the way."""
    return [line for line in said.splitlines() if line.startswith("error: ")]


def forget() -> None:
    """As in a new process, no plugin is loaded."""
    for registry in KINDS.values():
        for name in [name for name in registry.entries if name.startswith("my/")]:
            del registry.entries[name]
    plugin._done.clear()
    specs.get.cache_clear()
