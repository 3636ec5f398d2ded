"""Starts workers and keeps them going: launchers (``--executor``), a worker's supervisor, the snapshot of its code."""

import flowbench  # noqa: F401  (looks whether it can run here)
from bench.launch import local  # noqa: F401  (importing registers the names)
from bench.launch.check_launcher import check
from bench.launch.launchers import (
    Given,
    Job,
    Launcher,
    Seen,
    Submitted,
    output,
    register,
    registry,
    share_command,
    write_jobs,
)
from bench.launch.slurm import slurm_launcher  # noqa: F401

registry.check = check

__all__ = [
    "Given",
    "Job",
    "Launcher",
    "Seen",
    "Submitted",
    "output",
    "register",
    "share_command",
    "write_jobs",
]
