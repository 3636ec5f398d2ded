"""Workers that are forked from a process which has imported torch already, and kill themselves where a test says.

Run as a program: for every line of JSON on its standard input it forks one worker, and answers with how that ended.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.runfolder import lease
from bench.runfolder.submission import Submission
from flowbench._core import atomic

CHANGES = ("open", "os.rename", "os.remove", "os.mkdir", "shutil.rmtree")
"""Audited events that change files; a worker that is killed before each of them has died everywhere that matters."""

HALF = 400
"""Bytes of a file after which a worker that is to be killed in the middle of writing is."""


@dataclass
class Forks:
    """Starts such workers."""

    process: subprocess.Popen[str]

    def run(self, submission: Submission, die: int | None = None, at: str = "") -> tuple[int, int]:
        """A worker without a supervisor; returns its exit code, and how many changes it made to files named ``at``."""
        token = f"{submission.id}/0"
        state = {"token": token, "state": "running", "restart": 0, "pid": os.getpid(), **lease.stamp()}
        atomic.write_json(submission.state_file(0), state)
        return self.start(submission, 0, token, die=die, at=at)

    def start(
        self,
        submission: Submission,
        index: int,
        token: str,
        *options: str,
        die: int | None = None,
        at: str = "",
    ) -> tuple[int, int]:
        """A worker of a share, killed before its change number ``die`` to files that are named like ``at``; if that is
        negative, in the middle of the next file that it writes after it."""
        asked = {
            "argv": [str(submission.folder), str(index), token, *options],
            "log": str(submission.log_file(index)),
            "out": str(submission.out),
            "parent": os.getpid(),
            "environment": dict(os.environ),
            "die": die,
            "at": at,
        }
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        code, changes = json.loads(self.process.stdout.readline())
        return code, changes


@contextmanager
def started() -> Iterator[Forks]:
    """The process that forks them."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    with process:
        yield Forks(process)
        process.kill()


def serve() -> None:
    """Fork a worker for every line."""
    import torch
    import torch._dynamo  # which every optimiser imports

    from bench.training import checkpoint
    from bench.worker import loop as worker  # noqa: F401

    torch.set_num_threads(1)
    checkpoint.SHARE = float("inf")  # a checkpoint after every step, whatever it costs
    for line in sys.stdin:
        counter, other = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(counter)
            become(json.loads(line), other)
        os.close(other)
        _, status = os.waitpid(child, 0)
        with os.fdopen(counter) as counted:
            changes = len(counted.read())
        print(json.dumps([os.waitstatus_to_exitcode(status), changes]), flush=True)


def become(asked: dict[str, Any], counter: int) -> None:
    """Be the worker."""
    from bench.worker import loop as worker

    os.environ.update(asked["environment"])
    os.getppid = lambda: int(asked["parent"])
    with atomic.append(Path(asked["log"])) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    seen = 0

    def hook(event: str, given: tuple[Any, ...]) -> None:
        nonlocal seen
        if (
            event not in CHANGES
            or not str(given[0]).startswith(asked["out"])
            or asked["at"] not in str(given)
        ):
            return
        if event == "open" and not given[2] & (os.O_WRONLY | os.O_RDWR):
            return
        seen += 1
        os.write(counter, b".")
        if asked["die"] and seen == abs(asked["die"]):
            if asked["die"] > 0:
                os.kill(os.getpid(), signal.SIGKILL)
            # files end here, and so does a process that writes more
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (HALF, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    sys.addaudithook(hook)
    code = 1
    try:
        code = worker.main(asked["argv"])
    finally:
        sys.stdout.flush()
        os._exit(code)


def outcome(folder: Path) -> dict[str, Any]:
    """What the cells of a run folder have come to: every byte of tensors, and all else but times and machines."""
    found: dict[str, Any] = {}
    for file in sorted((folder / "cells").rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.suffix == ".safetensors":
            found[name] = file.read_bytes()
        elif file.name == "metrics.jsonl":
            lines = [json.loads(line) for line in file.read_text().splitlines()]
            found[name] = [{k: v for k, v in line.items() if k != "seconds"} for line in lines]
        elif file.name in ("status.json", "result.json", "config.json"):
            found[name] = atomic.read_object(file)
            for key in ("training", "measuring"):
                found[name].pop(key, None)
        elif file.is_file() and file.name != "log.txt":
            found[name] = "there"
    return found


if __name__ == "__main__":
    serve()
