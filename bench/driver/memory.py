"""The memory that a worker takes, against what it is given: here, on a GPU of this machine, or by Slurm. No torch."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from bench.cli.slurm_options import CPUS, PREFIX, SlurmOptions
from bench.config.experiment import Grid
from bench.cost.estimate import size
from bench.launch import local
from bench.machine import cgroup
from bench.planning.amounts import by_cell
from bench.planning.plan import Planned
from bench.runfolder.submission import Execution
from flowbench._core.errors import UserError

PROCESS = 4e8
"""Bytes of a worker that has loaded torch, and nothing else."""
UNITS = {"K": 1024.0, "": 1024.0**2, "M": 1024.0**2, "G": 1024.0**3, "T": 1024.0**4}
"""Of sbatch's sizes."""


@dataclass(frozen=True)
class Given:
    """Bytes that a worker is given, None if that is not known before it runs; ``where``, in words, and what to do if they
    are too few."""

    amount: float | None
    where: str
    advice: str = ""


@dataclass(frozen=True)
class Memory:
    """What the largest training step takes, at most and at least, against what it is given.

    On a GPU the two differ: bf16 and kernels that keep no attention may save all but what parameters take.
    """

    step: str
    most: float
    least: float
    given: Given

    def __str__(self) -> str:
        takes = f"{self.step} takes about {size(self.most)}"
        amount, where = self.given.amount, self.given.where
        return f"{takes}; {where}" if amount is None else f"{takes}, and {size(amount)} {where}"

    @property
    def doubtful(self) -> bool:
        """Whether it may not fit."""
        return self.given.amount is not None and self.most > self.given.amount

    def check(self) -> None:
        """Raises :class:`UserError` if it does not fit."""
        if self.given.amount is not None and self.least > self.given.amount:
            raise UserError(f"{self}: take less, or {self.given.advice}")


def needed(
    divided: Sequence[Sequence[Planned]], grid: Grid, execution: Execution, options: SlurmOptions
) -> Memory | None:
    """The memory of the largest training step of all workers; None if nothing is trained. Raises :class:`UserError` if
    Slurm was asked for less than any worker takes."""
    look, together = by_cell(grid), execution.pack or 1
    cells = [p.cell for part in divided for p in part if p.state != "trained"]
    if not cells:
        return None
    cell = max(cells, key=lambda c: look(c).shape.training_bytes(c.training.batch))
    shape, on_slurm = look(cell).shape, execution.executor == "slurm"
    gpu = execution.device != "cpu" if on_slurm else local.on_gpu(execution)
    if on_slurm and (asked := by_slurm(options)).amount is not None and asked.amount < PROCESS:
        raise UserError(
            f"a worker takes about {size(PROCESS)} before it trains, and {size(asked.amount)} {asked.where}"
        )
    what = f"--pack {together}" if together > 1 else f"--depth {cell.model.depth}"
    most = together * shape.training_bytes(cell.training.batch)
    return Memory(
        f"{what}: a training step with --batch {cell.training.batch}",
        most if gpu or not on_slurm else most + PROCESS,
        together * 36.0 * shape.parameters() if gpu else most,
        given(execution, options, gpu),
    )


def given(execution: Execution, options: SlurmOptions, gpu: bool) -> Given:
    """What the steps of a worker are given."""
    if execution.executor == "slurm":
        unknown = Given(None, "how much memory the cluster's GPUs have is not known here")
        return unknown if gpu else by_slurm(options)
    if not gpu:
        return Given(cgroup.available_memory(), "of memory are free", "another machine")
    if (amount := gpu_memory(execution.device)) is None:
        return Given(None, "how much memory the GPU has is not known here")
    return Given(amount, "of the GPU's memory are free", "another GPU")


def by_slurm(options: SlurmOptions) -> Given:
    """The memory of the node that was asked for; ``0`` is all of it, however much that is."""
    cpus = options.given.get("cpus_per_task", options.given.get("cpus_per_gpu", CPUS if options.gpus else 1))
    for key, times in (("mem", 1), ("mem_per_gpu", 1), ("mem_per_cpu", cpus)):
        found = re.fullmatch(r"(\d+)([KMGT]?)B?", str(options.given.get(key, "")), re.IGNORECASE)
        if found and (amount := int(found[1]) * UNITS[found[2].upper()] * times):
            return Given(amount, f"are asked for with {PREFIX}{key.replace('_', '-')}", "ask for more")
    return Given(None, "how much memory a node gives without --slurm.mem is not known here")


def gpu_memory(device: str) -> float | None:
    """Bytes that are free on the GPU that has fewest of those that may be used; None where no NVIDIA driver tells."""
    gpus, index = local.visible_gpus(), device.partition(":")[2]
    gpus = gpus[int(index) : int(index) + 1] if index.isdigit() else gpus
    command = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits", "-i", ",".join(gpus)]
    with suppress(OSError, subprocess.SubprocessError, ValueError):
        said = subprocess.run(command, capture_output=True, text=True, timeout=15, check=True)
        return min(float(line) for line in said.stdout.splitlines()) * 1024.0**2
    return None
