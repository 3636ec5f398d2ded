"""The part ``grid``: wall time and peak memory of ``python -m bench.grid`` as a user runs it, and where its time goes.

``--help``, ``--dry-run`` and whole presets, each in a process of its own; a run's stages (start-up, compile, train,
generate, metrics, store) are what it writes into ``timings.json``.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.machine.stage_timer import STAGES
from bench.speed.sizes import Scope
from bench.speed.timing import Row
from flowbench._core import atomic
from flowbench._core.errors import UserError

SHORT, REPEATS = ("--help", "--dry-run"), 3
"""Commands of a fraction of a second, and how often they are run for their median."""
LAUNCHER = """
import os, sys
child = os.fork()
if not child:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.execv(sys.executable, [sys.executable, "-m", "bench.grid", *sys.argv[1:]])
_, status, usage = os.wait4(child, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
"""
"""A small process that starts the command: Linux counts the memory of the process that starts another as its own peak."""


class Ran(NamedTuple):
    """A finished command: wall seconds and peak memory in GiB."""

    seconds: float
    memory: float


def grid(scope: Scope) -> Iterator[Row]:
    """The short commands, then every preset; ``paper`` with its fixed number of steps, and with bf16 on a GPU."""
    for option in SHORT:
        runs = [run([option]) for _ in range(1 if scope.tiny else REPEATS)]
        seconds = statistics.median(each.seconds for each in runs)
        yield from wall(option, Ran(seconds, max(each.memory for each in runs)))
    with tempfile.TemporaryDirectory() as folder:
        for name in scope.presets:
            options = ["--preset", name]
            if name == "paper":
                options += ["--steps", str(scope.paper_steps)] if scope.paper_steps else []
                options += ["--precision", "bf16"] if scope.gpu else []
            out, shown = Path(folder) / name, " ".join(options)
            done = run([*options, "--out", str(out)], cache=Path(folder) / f"cache-{name}")
            yield from wall(shown, done)
            yield from stages(shown, out, done)


def wall(shown: str, done: Ran) -> Iterator[Row]:
    """Seconds and memory of a command."""
    yield Row(f"{shown}: wall", done.seconds, "s")
    yield Row(f"{shown}: peak memory", done.memory, "GiB")


def stages(shown: str, out: Path, done: Ran) -> Iterator[Row]:
    """Seconds of the stages of a run, and of what is before the command's first line and after its last."""
    found = atomic.read_object(out / "timings.json")
    for stage in STAGES:
        yield Row(f"{shown}: {stage}", float(found[stage]), "s")
    yield Row(f"{shown}: starting and ending Python", done.seconds - float(found["total"]), "s")


def run(arguments: Sequence[str], cache: Path | None = None) -> Ran:
    """Run ``python -m bench.grid`` with these arguments, as if for the first time. Raises :class:`UserError` if it fails."""
    fresh = {"XDG_CACHE_HOME": str(cache), "TORCHINDUCTOR_CACHE_DIR": str(cache)} if cache else {}
    command = [sys.executable, "-c", LAUNCHER, *arguments]
    started = time.perf_counter()
    process = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | fresh)
    seconds = time.perf_counter() - started
    code, kilobytes = process.stdout.split()
    if code != "0":
        error = next((line for line in process.stderr.splitlines() if line.startswith("error: ")), "")
        shown = f"'python -m bench.grid {' '.join(arguments)}'"
        raise UserError(f"{shown} ended with exit code {code} {error}".rstrip())
    return Ran(seconds, int(kilobytes) / 2**20)
