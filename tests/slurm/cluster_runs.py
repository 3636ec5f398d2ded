"""A small grid on the test cluster, and on this machine without any disturbance, to compare with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from safetensors.numpy import load_file

from .cluster import Cluster

T = TypeVar("T")

SMALL = [
    "--preset", "smoke", "--formulations", "rf/lognorm(0,1)", "eps/linear", "--train-images", "64",
    "--validation-images", "32", "--batch", "8", "--validations", "4", "--validation-batch", "16", "--weights", "ema",
    "--settings", "4:1", "2:5", "--samples", "8", "--compile", "off", "--pack", "1", "--checkpoint", "0.01",
]  # fmt: skip
SLURM = [
    "--executor",
    "slurm",
    "--device",
    "cpu",
    "--slurm.gpus=8",
    "--slurm.cpus_per_task=2",
    "--slurm.time=60",
]
"""A worker takes all the pretended GPUs of its node: four workers run at once, one on each."""
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "FLOWBENCH_SECRET": "hunter2"}


class Run:
    """One run folder and the commands on it."""

    def __init__(self, out: Path, options: Sequence[str], cluster: Cluster | None = None) -> None:
        self.out, self.cluster = out, cluster
        self.options = [*SMALL, *options, "--out", str(out), *(SLURM if cluster else [])]

    def command(self, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """``python -m bench.grid`` with the run's options and some more."""
        with self.start(*more, **environment) as process:
            out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def start(self, *more: str, **environment: str) -> subprocess.Popen[str]:
        """The same, without waiting for its end."""
        given = os.environ | (self.cluster.environment() if self.cluster else {}) | ENVIRONMENT | environment
        command = [sys.executable, "-m", "bench.grid", *self.options, *more]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=given, text=True, stdout=pipe, stderr=pipe)

    def submit(self, *more: str) -> str:
        """Submit; returns what was said."""
        done = self.command(*more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def finish(self, *more: str) -> str:
        """Wait until all is done, and check that it is; returns the ranking."""
        done = self.command("--wait", *more)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done.stdout

    def cells(self) -> list[Path]:
        """The cells' folders."""
        return sorted(p for p in (self.out / "cells").glob("*") if (p / "config.json").exists())

    def checkpoints(self) -> list[Path]:
        """All checkpoints that are there."""
        return sorted(self.out.glob("cells/*/checkpoint-*"))

    def states(self) -> list[dict[str, Any]]:
        """What the supervisors wrote, newest submission last."""
        return [json.loads(p.read_text()) for p in sorted(self.out.glob("submissions/*/share-*.json"))]

    def logs(self) -> str:
        """Everything that was logged."""
        files = [*self.out.glob("submissions/*/share-*.log"), *self.out.glob("submissions/*/slurm/*/*.err")]
        return "\n".join(f"== {p.name}\n{p.read_text(errors='replace')}" for p in sorted(files))

    def tasks(self) -> dict[str, str]:
        """Task id -> state of the run's jobs that Slurm lists."""
        assert self.cluster
        return self.cluster.jobs()

    def trainings(self) -> list[int]:
        """How often each cell was trained from its beginning."""
        return [
            text.count(" training ") - text.count(" continuing at step ")
            for text in ((p / "log.txt").read_text() for p in self.cells())
        ]


def processes(text: str) -> list[int]:
    """Processes whose command line has a text in it."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def workers(run: Run) -> list[int]:
    """The worker processes of a run."""
    return processes(f"-m bench.worker.begin {run.out}")


def until(condition: Callable[[], T], seconds: float, what: str, run: Run | None = None) -> T:
    """Wait for a condition and give what it gives."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        logs = f"\n{run.logs()}" if run else ""
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}{logs}"
        time.sleep(0.02)
    return value


def differences(one: Run, other: Run) -> Iterator[str]:
    """In what the results of two runs differ: nothing, if training and everything after it is reproducible to the bit."""
    if [p.name for p in one.cells()] != [p.name for p in other.cells()]:
        yield "the cells"
        return
    for a, b in zip(one.cells(), other.cells(), strict=True):
        files = sorted(p.relative_to(a) for p in a.rglob("*.safetensors"))
        if files != sorted(p.relative_to(b) for p in b.rglob("*.safetensors")):
            yield f"{a.name}: which files there are"
            continue
        for file in files:
            left, right = load_file(a / file), load_file(b / file)
            if left.keys() != right.keys() or any((left[k] != right[k]).any() for k in left):
                yield f"{a.name}/{file}"
        for name, drop in (("metrics.jsonl", "seconds"), ("result.json", "measuring")):
            left, right = ([facts(p, drop) for p in sorted(c.rglob(name))] for c in (a, b))
            if left != right:
                yield f"{a.name}/{name}"


def facts(file: Path, drop: str) -> list[dict[str, Any]]:
    """The JSON objects of a file without what differs from run to run."""
    text = file.read_text()
    found = (
        [json.loads(line) for line in text.splitlines()] if file.suffix == ".jsonl" else [json.loads(text)]
    )
    return [{k: v for k, v in value.items() if k != drop} for value in found]
