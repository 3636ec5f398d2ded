"""What submitit runs in a task of a Slurm array: the supervisor of one share, requeued when it must stop. No torch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from bench.launch import submission as submissions
from bench.launch.supervisor import Supervisor

MARGIN = 60.0
"""Seconds before the end of the allocation at which a worker stops by itself, should Slurm's warning not come."""


class Entry:
    """Pickled by reference: the code comes from the submission's snapshot."""

    def __init__(self, folder: str, shares: tuple[int, ...]) -> None:
        self.folder, self.shares = folder, shares

    def __call__(self, position: int) -> None:
        """Bring the share at ``position`` to its end, or be requeued. Exits with 1 if it did not settle."""
        submission = submissions.read(Path(self.folder))
        job = os.environ["SLURM_JOB_ID"]
        restart = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        supervisor = Supervisor(submission, self.shares[position], os.environ, restart, task_name())
        for number, why in ((signal.SIGUSR2, "Slurm's warning"), (signal.SIGTERM, "ended by Slurm")):
            signal.signal(number, lambda *_, why=why: supervisor.stop(why))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2, signal.SIGTERM])
        threading.Thread(target=watch_clock, args=(supervisor, job), daemon=True).start()
        ending = supervisor.run()
        if ending == "saved" and not submission.cancelled and state(job) == "RUNNING":
            print(f"requeued: {supervisor.stopping}", flush=True)
            subprocess.run(["scontrol", "requeue", job], check=False, timeout=60)
        sys.exit(0 if ending in ("settled", "saved", "fenced") else 1)


def task_name() -> str:
    """``123_4``, or ``123`` outside an array."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}") for name in ("JOB_ID", "TASK_ID"))
    return f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"]


def watch_clock(supervisor: Supervisor, job: str) -> None:
    """Stop the worker before the allocation ends; asked again before, since limits can be changed."""
    while (left := seconds_left(job)) is not None:
        if left <= MARGIN:
            supervisor.stop("the time limit")
            return
        time.sleep(max(1.0, min(left - MARGIN, 3600.0)))


def state(job: str) -> str:
    """The job's state as Slurm tells it now, one word; empty if it does not."""
    return ask("squeue", "-h", "-j", job, "-o", "%T").partition(" ")[0]


def seconds_left(job: str) -> float | None:
    """Seconds until the end of the allocation; None without a limit, or if Slurm does not tell."""
    return parse_time(ask("squeue", "-h", "-j", job, "-o", "%L"))


def parse_time(text: str) -> float | None:
    """``1-02:03:04``, ``02:03:04`` or ``03:04`` in seconds; None for words."""
    days, _, clock = text.rpartition("-")
    try:
        parts = [int(part) for part in clock.split(":")]
        seconds = sum(part * 60**i for i, part in enumerate(reversed(parts)))
        return float(seconds + 86400 * int(days or 0)) if len(parts) in (2, 3) else None
    except ValueError:
        return None


def ask(*command: str) -> str:
    """What a Slurm command prints; nothing if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
