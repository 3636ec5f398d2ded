"""A command that several processes may share, by ``--part I/N``, as jobs of Slurm: an array of its parts, then one job that
runs it without that option, and so does what a part left. Slurm requeues what it warns: the command must be one that
continues. No torch."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import flowbench
from bench.launch.slurm import executor, queue
from bench.launch.slurm.sbatch import call, fresh_folder, script
from bench.launch.slurm.slurm_options import SlurmOptions
from flowbench._core.errors import UserError

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

Words = list[str]
"""Arguments of a command."""


@dataclass(frozen=True)
class Task:
    """What submitit runs: a module's ``main``. Pickled by reference."""

    module: str

    def __call__(self, words: Words) -> None:
        """Run the command with these arguments; exits with its code if that is not 0."""
        if code := importlib.import_module(self.module).main(words):
            sys.exit(code)

    def checkpoint(self, words: Words) -> DelayedSubmission:
        """What submitit has Slurm run once more after a warning: the same."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, words)


def submit(
    module: str, commands: Sequence[Words], parts: int, out: Path, options: SlurmOptions, device: str
) -> list[str]:
    """Queue an array and one more job for each of ``commands``, each after all before it, however these end; returns their
    ids. Raises :class:`UserError` if jobs for the folder ``out`` are in the queue, and if sbatch fails: then none is."""
    from submitit.core.utils import FailedJobError

    executor.reach()
    place = out.absolute()
    if bad := set("%\\:\n") & set(str(place)):
        raise UserError(f"--out {out}: Slurm cannot use a path with {min(bad)!r}: name another folder")
    if parts > (largest := executor.largest_array()):
        raise UserError(
            f"--parts {parts}: an array of this cluster has at most {largest} tasks: take {largest}"
        )
    name = f"flowbench-{hashlib.sha256(str(place).encode()).hexdigest()[:12]}"
    if active := queue.by_name(name):
        raise UserError(
            f"--out {out}: jobs {', '.join(active)} that write it are in the queue: wait, or end them by "
            f"`scancel {' '.join(active)}`"
        )
    place.mkdir(parents=True, exist_ok=True)
    jobs: list[str] = []
    try:
        for command in commands:
            for words in ([[*command, "--part", f"{i + 1}/{parts}"] for i in range(parts)], [command]):
                most = options["array_parallelism"]
                chosen = script(options.parameters(device), name, Path(flowbench.ROOT), most, jobs[-1:])
                jobs.append(call(fresh_folder(place / "slurm"), Task(module), words, chosen))
    except FailedJobError as error:
        queue.cancel(jobs)
        raise UserError(f"sbatch failed: {queue.words(str(error))}; none of the jobs is queued") from None
    return jobs
