"""``grid``: wall time and peak memory of ``python -m bench.grid`` as a user runs it, and where its time goes.

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
from dataclasses import dataclass
from pathlib import Path

from bench.machine.stages import STAGES
from bench.speed.options import Plan
from bench.speed.timing import Row
from flowbench._core import atomic
from flowbench._core.errors import UserError

SHORT, REPEATS = (("--help",), ("--dry-run",)), 3
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
"""A small process that starts the command: Linux counts the memory of whoever starts a process as its own peak."""


@dataclass(frozen=True)
class Ran:
    """A finished command: wall seconds and peak memory in GiB."""

    seconds: float
    memory: float


def rows(plan: Plan) -> Iterator[Row]:
    """The short commands, then every preset."""
    for arguments in SHORT:
        runs = [run(arguments) for _ in range(1 if plan.tiny else REPEATS)]
        seconds = statistics.median(each.seconds for each in runs)
        yield from wall(arguments[0], Ran(seconds, max(each.memory for each in runs)))
    with tempfile.TemporaryDirectory() as folder:
        for name in plan.presets:
            out = Path(folder) / name
            options = ("--preset", name, *(budget(plan) if name == "paper" else ()))
            done = run((*options, "--out", str(out)), cache=Path(folder) / f"cache-{name}")
            yield from wall(" ".join(options), done)
            yield from stages(" ".join(options), out, done)


def budget(plan: Plan) -> tuple[str, ...]:
    """Options of the preset ``paper``: its fixed number of steps, and bf16 on a GPU."""
    steps = ("--steps", str(plan.paper_steps)) if plan.paper_steps else ()
    return (*steps, *(("--precision", "bf16") if plan.gpu else ()))


def wall(shown: str, done: Ran) -> Iterator[Row]:
    """Seconds and memory of a command."""
    yield Row("grid", f"{shown}: wall", done.seconds, "s")
    yield Row("grid", f"{shown}: peak memory", done.memory, "GiB")


def stages(shown: str, out: Path, done: Ran) -> Iterator[Row]:
    """Seconds of the stages of a run, and of what is before the command's first line and after its last."""
    found = atomic.read_object(out / "timings.json")
    for stage in STAGES:
        yield Row("grid", f"{shown}: {stage}", float(found[stage]), "s")
    yield Row("grid", f"{shown}: starting and ending Python", done.seconds - float(found["total"]), "s")


def run(arguments: Sequence[str], cache: Path | None = None) -> Ran:
    """Run ``python -m bench.grid`` with these arguments, as if for the first time. Raises :class:`UserError` if it fails."""
    fresh = {"XDG_CACHE_HOME": str(cache), "TORCHINDUCTOR_CACHE_DIR": str(cache)} if cache else {}
    environment = {**os.environ, **fresh}
    started = time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-c", LAUNCHER, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    seconds = time.perf_counter() - started
    code, kilobytes = process.stdout.split()
    if code != "0":
        said = next((line for line in process.stderr.splitlines() if line.startswith("error: ")), "")
        raise UserError(
            f"'python -m bench.grid {' '.join(arguments)}' ended with exit code {code} {said}".rstrip()
        )
    return Ran(seconds, int(kilobytes) / 2**20)
