"""One call of sbatch, through submitit: its folder, what stands in its script, and its environment."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.launch.launchers import shielded
from bench.launch.slurm.arrays import name
from bench.launch.supervisor import ISOLATED
from bench.runfolder.submission import Submission

NEEDED = {"SLURM_CONF", "SLURM_JWT"}
"""How Slurm's commands find and enter the cluster; all other SLURM_ variables describe a job that we may be in."""
OVERRIDES = (
    *("ARRAY_INX", "CLUSTERS", "CPU_BIND", "ERROR", "INPUT", "JOB_NAME", "MEM_BIND", "NO_REQUEUE"),
    *("OPEN_MODE", "OUTPUT", "REQUEUE", "SIGNAL", "TIMELIMIT", "WAIT"),
)
"""SBATCH_ variables that would win over what stands in the script."""


def fresh_folder(parent: Path) -> Path:
    """A new folder for submitit in ``parent``, which only its owner may enter: pickles are loaded from it."""
    parent.mkdir(mode=0o700, exist_ok=True)
    used = [int(p.name) for p in parent.iterdir() if p.name.isdigit()]
    folder = parent / str(max(used, default=-1) + 1)
    folder.mkdir(mode=0o700)
    return folder


def parameters(
    submission: Submission, options: dict[str, Any], most: int, waits: Sequence[str]
) -> dict[str, Any]:
    """The parameters of submitit for one array: ``most`` tasks run at once, after the jobs ``waits``."""
    each = submission.execution.replicas // options.get("nodes", 1)
    shield = shielded(submission)
    return script(options, name(submission), submission.code_folder.absolute(), most, waits, each, shield)


def script(
    options: dict[str, Any],
    name: str,
    code: Path,
    most: int,
    waits: Sequence[str],
    processes: int = 1,
    before: Sequence[str] = (),
) -> dict[str, Any]:
    """The same for tasks of so many ``processes`` on a node, of the code in a folder; Python begins ``before`` them."""
    chosen = dict(options)
    cores = "${SLURM_CPUS_PER_TASK:-1}"
    threads = cores if processes == 1 else f"$(({cores} > {processes} ? {cores} / {processes} : 1))"
    path = shlex.quote(f"{code}:{Path.cwd()}")
    exports = [
        f'export PYTHONPATH={path}"${{PYTHONPATH:+:$PYTHONPATH}}"',
        *(f"export {name}={value}" for name, value in ISOLATED.items()),
        # srun does not take this from sbatch in every release of Slurm, and would bind the worker to one core
        '[ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"',
        # as many threads as there are cores for them; and on every node the same, so that results are
        f'export OMP_NUM_THREADS="${{OMP_NUM_THREADS:-{threads}}}"',
    ]
    # submitit drops its own `python` for arrays, so what has to run before Python stands at the end of srun's options
    chosen |= {
        "job_name": name,
        "array_parallelism": most,
        "setup": [*chosen.get("setup", ()), *exports],
        # with sbatch's --export=NONE srun would not even hand on PATH
        "srun_args": ["--export=ALL", *chosen.get("srun_args", ()), *before],
    }
    if waits:
        chosen["dependency"] = "afterany:" + ":".join(waits)
    return chosen


def call(folder: Path, task: Callable[[Any], None], given: Sequence[Any], chosen: dict[str, Any]) -> str:
    """Let submitit write the pickles and the script, of a task for each of ``given``, and call sbatch; it may not print.
    Returns the job's id."""
    from submitit import SlurmExecutor

    with environment(chosen), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        executor = SlurmExecutor(folder, max_num_timeout=1_000_000)
        executor.update_parameters(**chosen)
        jobs = executor.map_array(task, given)
    return str(jobs[0].job_id).partition("_")[0]


@contextlib.contextmanager
def environment(chosen: dict[str, Any]) -> Iterator[None]:
    """An environment for sbatch in which only what the user meant for it is left.

    SBATCH_ variables are defaults of the user's, but sbatch lets them win over the script: those go that would undo
    what was asked for.
    """
    from submitit.helpers import clean_env

    asked = {key for key, value in chosen.items() if value is not None} | {*chosen["additional_parameters"]}
    undone = {f"SBATCH_{key.upper().replace('-', '_')}" for key in {*OVERRIDES, *asked}}
    if "mem" in asked:
        undone.add("SBATCH_MEM_PER_NODE")
    kept = {
        k: v for k, v in os.environ.items() if k in NEEDED or (k.startswith("SBATCH_") and k not in undone)
    }
    with clean_env():
        os.environ.update(kept)
        yield
