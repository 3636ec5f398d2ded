"""The launcher of Slurm clusters: the parts of :mod:`bench.launch.slurm` under the contract of launchers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from bench.cost.estimate import size
from bench.launch.launchers import PROCESS, Given, Launcher, Pairs, Seen, Submitted, register
from bench.launch.slurm import arrays, executor, queue, slurm_options
from bench.launch.slurm.slurm_options import CPUS, PREFIX, SlurmOptions
from bench.planning.plan import Plan
from bench.runfolder.submission import Execution, Submission
from flowbench._core.errors import UserError
from flowbench._core.terminal import many

UNITS = {"K": 1024.0, "": 1024.0**2, "M": 1024.0**2, "G": 1024.0**3, "T": 1024.0**4}
"""Of sbatch's sizes."""


class Slurm(Launcher):
    """Job arrays of a cluster, with the user's ``options``."""

    title = "Slurm"
    lost = "Slurm lists it no more, and it left no result"
    hints: ClassVar[Mapping[str, str]] = {
        "launch failed": "look at its node, then: scontrol release JOB",
        "job requeued in held": "scontrol release JOB lets it go",
        "JobHeld": "scontrol release JOB lets it go",
        "DependencyNeverSatisfied": "will never start: --cancel, then submit again",
        "ReqNodeNotAvail": "nodes are down or reserved, see sinfo -R",
        "PartitionTimeLimit": "will never start: --cancel, then submit with less --slurm.time",
        "PartitionNodeLimit": "will never start: --cancel, then submit with fewer resources",
        "BadConstraints": "will never start: --cancel, then submit with other --slurm options",
        "JobArrayTaskLimit": "--slurm.array_parallelism sets how many run at once",
        "QOS": "a limit of your QOS, see sacctmgr show qos",
        "Assoc": "a limit of your account, see sacctmgr show assoc",
        "OUT_OF_MEMORY": "ask for more with --slurm.mem",
        "TIMEOUT": "ask for more with --slurm.time",
    }

    def __init__(self, given: SlurmOptions | None = None) -> None:
        self.options = given or slurm_options.parse([])

    def configured(self, pairs: Pairs) -> Launcher:
        """With ``--slurm.KEY=VALUE``."""
        return Slurm(slurm_options.parse(pairs))

    def accept(self, execution: Execution) -> Execution:
        """On GPUs, unless another device is named."""
        if execution.slots is not None:
            raise UserError("--slots is for --executor local: use --slurm.array_parallelism")
        return replace(execution, device="cuda") if execution.device == "auto" else execution

    def check(self, plan: Plan, execution: Execution) -> None:
        """What sbatch would take, and no worker could do with."""
        self.options.parameters(execution.device, execution.replicas)
        asked = by_slurm(self.options)
        if plan.ready() and asked.amount is not None and asked.amount < PROCESS:
            raise UserError(
                f"a worker takes about {size(PROCESS)} before it trains, and {size(asked.amount)} {asked.where}"
            )

    def reach(self) -> None:
        """Slurm's programs are here, and it answers."""
        executor.reach()

    def memory(self, execution: Execution) -> Given:
        """What was asked for of a node; of its GPUs nothing is known."""
        if execution.device == "cpu":
            each = self.options.replicas_each(execution.replicas)
            return replace(by_slurm(self.options), replicas=each)
        return Given(None, "how much memory the cluster's GPUs have is not known here", gpu=True)

    def describe(self, execution: Execution, workers: int, shown: str) -> str:
        """In how many arrays, for how long, and how many at once."""
        try:
            largest = executor.largest_array()
        except UserError:
            largest = executor.USUAL_ARRAY
        limits = f"{self.options['time']} minutes each, at most {self.options['array_parallelism']} at once"
        nodes = self.options.given.get("nodes", 1)
        each = f" of {execution.replicas} replicas on {many(nodes, 'node')}" * (execution.replicas > 1)
        return f"{shown}{each} in {many(-(-workers // largest), 'array')}, {limits}"

    def submit(self, submission: Submission) -> Submitted:
        """As arrays."""
        return executor.submit(submission, self.options)

    def doubtful(self, submission: Submission) -> bool:
        """Whether Slurm has a job of it: a request without an answer may have been accepted."""
        try:
            return bool(arrays.strays(submission, []))
        except UserError:
            return True

    def recover(self, submission: Submission) -> None:
        """Adopt or cancel an array that was not written down."""
        arrays.recover(submission)

    def states(self, submission: Submission) -> Mapping[int, Seen]:
        """By what squeue lists."""
        return self.survey([submission])[0]

    def survey(self, submissions: Sequence[Submission]) -> list[Mapping[int, Seen]]:
        """By what squeue lists, asked once."""
        tasks = [self.jobs(submission) for submission in submissions]
        asked = [task for found in tasks for task in found.values()]
        listed = queue.look(asked) if asked else {}
        return [
            {share: listed.get(task) or Seen("gone", job=task) for share, task in found.items()}
            for found in tasks
        ]

    def explain(self, jobs: Sequence[str]) -> Mapping[str, str]:
        """By sacct."""
        return queue.explain(jobs)

    def cancel(self, submission: Submission) -> None:
        """With scancel."""
        arrays.cancel(submission)

    def outputs(self, submission: Submission, share: int, job: str) -> list[Path]:
        """What submitit keeps of the task."""
        with suppress(OSError):  # submitit's folders are their owner's only
            return sorted((submission.folder / "slurm").glob(f"*/{job or '-'}_0_log.err"))
        return []


@register("slurm")
def slurm() -> Launcher:
    """Job arrays of a cluster; the command prints their ids and returns."""
    return Slurm()


def by_slurm(asked: SlurmOptions) -> Given:
    """The memory of the node that was asked for; ``0`` is all of it, however much that is."""
    cpus = asked.given.get("cpus_per_task", asked.given.get("cpus_per_gpu", CPUS if asked.gpus else 1))
    for key, times in (("mem", 1), ("mem_per_gpu", 1), ("mem_per_cpu", cpus)):
        found = re.fullmatch(r"(\d+)([KMGT]?)B?", str(asked.given.get(key, "")), re.IGNORECASE)
        if found and (amount := int(found[1]) * UNITS[found[2].upper()] * times):
            where = f"are asked for with {PREFIX}{key.replace('_', '-')}"
            return Given(amount, where, "ask for more", process=True)
    return Given(None, "how much memory a node gives without --slurm.mem is not known here", process=True)
