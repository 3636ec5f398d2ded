"""The launcher of this machine: one slot for each visible GPU, or parts of the cores, driven by the command itself.

A slot gets its GPU by ``CUDA_VISIBLE_DEVICES``, out of those of this command.
"""

from __future__ import annotations

import functools
import itertools
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from glob import glob

from bench.launch.launchers import Given, Launcher, Seen, Submitted, register
from bench.launch.pool import Environment, Pool
from bench.machine import cgroup, cores
from bench.runfolder import lease
from bench.runfolder.submission import Execution, Submission
from flowbench._core.errors import UserError
from flowbench._core.terminal import many

HUNG_SECONDS = 900.0
"""A process of this machine that has been silent for so long counts as gone."""


class Local(Launcher):
    """Every GPU of this machine, or its cores."""

    title = "this machine"
    drives = True
    here = True
    lost = "the command that ran it is gone"

    def slots(self, execution: Execution) -> int | None:
        """As many as workers run at a time."""
        return len(slots(execution))

    def describe(self, execution: Execution, workers: int, shown: str) -> str:
        """How many slots there are."""
        each = f" of {execution.replicas} replicas" * (execution.replicas > 1)
        return f"{many(len(slots(execution)), 'slot')}{each}, {shown}"

    def memory(self, execution: Execution) -> Given:
        """The free memory of this machine, or of its GPU."""
        if execution.device == "cpu" or (execution.device == "auto" and not visible_gpus()):
            free = cgroup.available_memory()
            return Given(free, "of memory are free", "another machine", replicas=execution.replicas)
        if (amount := gpu_memory(execution.device)) is None:
            return Given(None, "how much memory the GPU has is not known here", gpu=True)
        return Given(amount, "of the GPU's memory are free", "another GPU", gpu=True)

    def submit(self, submission: Submission) -> Submitted:
        """Nothing begins before the pool runs."""
        return Submitted(())

    def pool(self, submission: Submission) -> Pool:
        """The slots of this machine."""
        return Pool(submission, slots(submission.execution))

    def states(self, submission: Submission) -> Mapping[int, Seen]:
        """Every share that waits for a slot or has one, by whether its command lives."""
        alive, found = believed(submission), dict[int, Seen]()
        for index in range(len(submission.shares)):
            state = lease.state(submission, index).get("state", "")
            if state == "running":
                found[index] = Seen("running" if alive else "gone", node=submission.host)
            elif not state and alive and not submission.cancelled:
                found[index] = Seen("queued", node=submission.host)
        return found


@register("local")
def local() -> Launcher:
    """Every GPU of this machine, or its cores; the command waits for its workers."""
    return Local()


def believed(submission: Submission) -> bool:
    """Whether the command of a local submission lives.

    On another machine, if any of its files is recent; on this one a process of its number must exist too, and may be silent
    for longer: after a crash of the machine the number may be another process's.
    """
    here = lease.on_this_machine(submission.host, submission.pid)
    heard = [lease.silence(submission.folder, index) for index in range(len(submission.shares))]
    silent = min([*heard, lease.age(submission.folder / "submission.json")])
    return here is not False and silent < (HUNG_SECONDS if here else lease.SILENT_SECONDS)


def slots(execution: Execution) -> list[Environment]:
    """The additions of each slot to the environment of its workers, whose replicas have a GPU each, or cores. Raises
    :class:`UserError` for more slots than cores, and for more replicas than there are GPUs or cores."""
    gpus = visible_gpus() if execution.device in ("auto", "cuda") else []
    each, most = execution.replicas, len(gpus) or cores.most()
    if each > most:
        what = "GPUs" if gpus else "cores"
        raise UserError(f"--replicas {each}: there are {most} {what} here, choose at most {most}")
    if gpus:
        count = execution.slots or len(gpus) // each
        threads = cores.environment(count * each, os.environ)
        taken = [",".join(gpus[(i * each + k) % len(gpus)] for k in range(each)) for i in range(count)]
        return [threads | {"CUDA_VISIBLE_DEVICES": names} for names in taken]
    count = execution.slots or 1
    if count * each > most:
        raise UserError(f"--slots {count}: there are {most} cores here, choose at most {most // each}")
    return [cores.environment(count * each, os.environ) for _ in range(count)]


def visible_gpus() -> list[str]:
    """The GPUs that this command may use, by their names in ``CUDA_VISIBLE_DEVICES``."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        names = (name.strip() for name in given.split(","))
        return list(itertools.takewhile(lambda name: name not in ("", "-1"), names))  # as CUDA reads it
    if not (glob("/dev/nvidia[0-9]*") or os.path.exists("/dev/kfd")):
        return []
    return [str(i) for i in range(count_gpus())]


@functools.cache
def count_gpus() -> int:
    """How many GPUs torch sees, asked in a process of its own: a driver that has touched CUDA keeps some of its memory."""
    count = "import torch; print(torch.cuda.device_count())"
    done = subprocess.run([sys.executable, "-P", "-c", count], capture_output=True, text=True, check=False)
    return int(done.stdout.strip() or 0)


def gpu_memory(device: str) -> float | None:
    """The fewest free bytes of the GPUs that may be used; None without an NVIDIA driver."""
    gpus, index = visible_gpus(), device.partition(":")[2]
    gpus = gpus[int(index) : int(index) + 1] if index.isdigit() else gpus
    command = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits", "-i", ",".join(gpus)]
    with suppress(OSError, subprocess.SubprocessError, ValueError):
        shown = subprocess.run(command, capture_output=True, text=True, timeout=15, check=True)
        return min(float(line) for line in shown.stdout.splitlines()) * 1024.0**2
    return None
