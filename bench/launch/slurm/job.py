"""What submitit runs in a task of a Slurm array: the supervisor of one share, requeued when it must stop. No torch."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from bench.launch.share import supervised
from bench.launch.slurm import queue
from bench.launch.supervisor import Supervisor
from bench.runfolder import submission as submissions
from flowbench._core.errors import UserError

TRIES, PAUSE = 12, 5.0
MARGIN = 30.0
"""Seconds before the end of the allocation at which a worker stops by itself, should Slurm's warning not come."""


class Entry:
    """Pickled by reference: the code comes from the submission's snapshot."""

    def __init__(self, folder: str, shares: tuple[int, ...]) -> None:
        self.folder, self.shares = folder, shares

    def __call__(self, position: int) -> None:
        """Bring the share at ``position`` to its end, or be requeued. Exits with 1 if it did not settle.

        Of a worker on several nodes the first one does that; the others have replicas, and end with it.
        """
        submission = submissions.read(Path(self.folder))
        job = os.environ["SLURM_JOB_ID"]
        restart = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        signals = {signal.SIGUSR2: "Slurm's warning", signal.SIGTERM: "ended by Slurm"}
        node, nodes = (
            int(os.environ.get(name, usual)) for name, usual in (("SLURM_NODEID", "0"), ("SLURM_NNODES", "1"))
        )
        each = submission.execution.replicas // nodes
        ranks = range(node * each, (node + 1) * each)
        supervisor = supervised(submission, self.shares[position], signals, restart, task_name(), ranks)
        if node:
            supervisor.accompany()
            sys.exit(0)
        threading.Thread(target=watch_clock, args=(supervisor, job), daemon=True).start()
        ending = supervisor.run()
        again = ending in ("saved", "unfit") and not submission.cancelled and requeue(job)
        if again and ending == "unfit" and (name := os.environ.get("SLURMD_NODENAME")):
            ask("scontrol", "update", f"jobid={job}", f"ExcNodeList={name}")
        if supervisor.failure:
            print(f"{'requeued' if again else ending}: {supervisor.failure.message}", flush=True)
        sys.exit(0 if again or ending in ("settled", "fenced") else 1)


def requeue(job: str) -> bool:
    """Have Slurm start this task again; False if it is being ended for good, or Slurm does not answer for a minute."""
    for _ in range(TRIES):
        now = ask("squeue", "-h", "-j", job, "-o", "%T")
        if now is not None and now.partition(" ")[0] != "RUNNING":
            return False
        if now and ask("scontrol", "requeue", job) is not None:
            return True
        time.sleep(PAUSE)
    print("not requeued: Slurm does not answer; the same command continues with these cells", flush=True)
    return False


def task_name() -> str:
    """``123_4``, or ``123`` outside an array."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}") for name in ("JOB_ID", "TASK_ID"))
    return f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"]


def watch_clock(supervisor: Supervisor, job: str) -> None:
    """Stop the worker before the allocation ends; asked again now and then, since limits can be changed."""
    while True:
        answer = ask("squeue", "-h", "-j", job, "-o", "%L")
        left = None if answer is None else queue.seconds(answer)
        if left is not None and left <= MARGIN:
            supervisor.stop("the time limit")
            return
        unknown = 60.0 if answer is None else 3600.0
        time.sleep(unknown if left is None else max(1.0, min(left - MARGIN, 3600.0)))


def ask(*command: str) -> str | None:
    """What a Slurm command prints; None if it fails."""
    try:
        return queue.run(command).strip()
    except UserError:
        return None
