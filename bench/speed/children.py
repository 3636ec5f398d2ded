"""Processes that take training steps on a word from this one: E processes that share the device, or one for its memory.

``python -m bench.speed.children JSON`` is such a process. It makes its model, warms up, prints a line, and then for
every line it reads takes steps and prints a line with its peak memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from bench.machine.memory import keep_freed_memory
from bench.machine.products import fast_products
from bench.speed.sizes import Size, from_json, to_json
from bench.speed.step import our_step
from bench.speed.timing import synchronise
from flowbench._core.errors import UserError

WARMUPS = 2


class Children:
    """``count`` processes with ``members`` members each; a context manager that ends them.

    They are warm when it is entered. Each gets its share of the processor's cores, one at least, unless ``threads`` says how
    many; ``environment`` adds to theirs.
    """

    def __init__(
        self,
        size: Size,
        count: int,
        members: int,
        device: torch.device,
        steps: int,
        threads: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.count = count
        threads = threads or max(1, torch.get_num_threads() // count)
        task = {
            "size": to_json(size),
            "members": members,
            "device": device.type,
            "threads": threads,
            "steps": steps,
        }
        self.command = [sys.executable, "-m", "bench.speed.children", json.dumps(task)]
        self.environment = {**os.environ, **(environment or {}), "OMP_NUM_THREADS": str(threads)}

    def __enter__(self) -> Children:
        self.processes = [
            subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=self.environment,
            )
            for _ in range(self.count)
        ]
        try:
            self.wait()
        except UserError:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def run(self) -> list[float]:
        """Let all take their steps at once; returns when the last has ended, with the peak memory of each in bytes."""
        for process in self.processes:
            with suppress(BrokenPipeError):  # it has ended, as the lines will tell
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
        return self.wait()

    def wait(self) -> list[float]:
        """A line from each."""
        lines = [p.stdout.readline() if p.stdout else "" for p in self.processes]
        if not all(lines):
            raise UserError(
                f"{lines.count('')} of {self.count} processes ended early, probably for want of memory: ask for fewer "
                "members with --members"
            )
        return [float(line) for line in lines]

    def end(self) -> None:
        """End the processes, by closing what they read from."""
        for process in self.processes:
            process.communicate()


def peak_bytes() -> float:
    """Peak resident memory of this process, without that of the one which started it (``ru_maxrss`` inherits it)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * float(status.partition("VmHWM:")[2].split()[0])


def child(task: dict[str, Any]) -> None:
    """What a process does."""
    torch.set_num_threads(task["threads"])
    keep_freed_memory()
    fast_products(torch.device(task["device"]))
    step = our_step(from_json(task["size"]), task["members"], torch.device(task["device"]))
    for _ in range(WARMUPS):
        step()
    synchronise()
    print(peak_bytes(), flush=True)
    for _ in sys.stdin:
        for _ in range(task["steps"]):
            step()
        synchronise()
        print(peak_bytes(), flush=True)


if __name__ == "__main__":
    child(json.loads(sys.argv[1]))
