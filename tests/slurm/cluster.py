"""A throw-away Slurm cluster on this machine, for tests: started, hurt, mended and stopped."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

SCRIPTS = Path(__file__).parent / "lab"
FOLDER = Path("/tmp/flowbench-slurm")  # short: unix sockets lie in it
SBIN = ("/usr/sbin", "/sbin")
# command -> Debian's package
COMMANDS = {
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "munged": "munge",
    "slurmdbd": "slurmdbd",
    "mariadbd": "mariadb-server-core",
    "my_print_defaults": "mariadb-client-core",
    "ip": "iproute2",
}
KNOBS = [
    "NODES",
    "GPUS",
    "CPUS",
    "MEM",
    "DB",
    "NETNS",
    "CGROUP",
    "USER_SIGNAL",
    "MAXARRAY",
    "PORT",
    "WAIT",
]  # SLURM_LAB_<knob>, explained in lab/start


class Unavailable(Exception):
    """This machine cannot run a cluster; the text says why in one sentence."""


class Cluster:
    """The one cluster of this machine. A new object finds a cluster that already runs in its folder."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        self._record = folder / "started-with.json"

    @staticmethod
    def obstacle(path: str | None = None) -> str | None:
        """Why no cluster can be started here, in one sentence, or None; `path` is searched instead of PATH."""
        if not sys.platform.startswith("linux"):
            return f"An emulated Slurm cluster needs Linux, this is {sys.platform}."
        if os.geteuid() != 0:
            return "An emulated Slurm cluster needs root: it makes network namespaces and device files."
        path = os.pathsep.join((os.environ.get("PATH", ""), *SBIN)) if path is None else path
        missing = [command for command in COMMANDS if shutil.which(command, path=path) is None]
        if missing:
            packages = " ".join(COMMANDS[command] for command in missing)
            return f"An emulated Slurm cluster needs {', '.join(missing)} (Debian's packages: {packages})."
        return None

    @property
    def knobs(self) -> dict[str, Any] | None:
        """The knobs that the running cluster was started with; None if none runs, or it failed to start."""
        try:
            knobs: dict[str, Any] = json.loads(self._record.read_text())
        except FileNotFoundError:
            return None
        return knobs

    def start(self, **knobs: int | str) -> None:
        """Start with these knobs (`DB=0`: SLURM_LAB_DB=0), instead of what runs in the folder; all nodes are idle then."""
        if unknown := [name for name in knobs if name not in KNOBS]:
            raise ValueError(f"no knob {', '.join(unknown)}; there are {', '.join(KNOBS)}")
        outcome = self._script("start", **{f"SLURM_LAB_{name}": str(value) for name, value in knobs.items()})
        if outcome.returncode == 3:
            raise Unavailable(outcome.stderr.strip().splitlines()[-1])
        if outcome.returncode:
            raise AssertionError(f"the cluster did not start:\n{outcome.stderr}")
        self._record.write_text(json.dumps(knobs))

    def stop(self) -> None:
        """End every process of the cluster and remove its folder, network and host names."""
        self._script("stop")

    def environment(self) -> dict[str, str]:
        """What a subprocess needs to talk to the cluster, to be laid over its environment."""
        path = os.pathsep.join((str(self.folder / "bin"), os.environ.get("PATH", ""), *SBIN))
        return {"SLURM_CONF": str(self.folder / "etc" / "slurm.conf"), "PATH": path}

    def run(self, *command: str, seconds: float = 60) -> str:
        """What a command writes to stdout; AssertionError with its stderr if it fails."""
        outcome = self._execute(command, seconds)
        if outcome.returncode:
            raise AssertionError(
                f"{' '.join(command)} ended with {outcome.returncode}: {outcome.stderr}{outcome.stdout}"
            )
        return outcome.stdout

    def lab(self, *words: str) -> str:
        """The fault tool: `lab("crash", "node2")`; see `lab help`."""
        return self.run("lab", *words)

    def jobs(self) -> dict[str, str]:
        """Task id ("12_3", "12") -> state, of all jobs that Slurm has not ended yet."""
        return dict(line.split() for line in self.run("squeue", "-hr", "-o", "%i %T").splitlines())

    def nodes_idle(self) -> bool:
        """Whether all nodes answer and none runs, ends or holds back anything."""
        states = self.run("sinfo", "-hN", "-p", "gpu", "-o", "%t").split()
        return set(states) == {"idle"}

    def until(self, condition: Callable[[], T], seconds: float, what: str) -> T:
        """Wait for a condition and give what it gives; AssertionError with the cluster's state if it takes longer."""
        end = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds:g} s: {what}\n{self.report()}")
            time.sleep(0.1)
        return value

    def cancel_all(self) -> None:
        """Cancel every job and kill what it runs; none is requeued."""
        if jobs := self.run("squeue", "-h", "-o", "%A").split():
            self._execute(("scancel", *sorted(set(jobs))), 60)  # fails for jobs that end meanwhile
        self.lab("sweep")

    def reset(self) -> None:
        """As after the start: no jobs, all cables plugged, all daemons up, all nodes idle.

        What a test changed by `scontrol update` or `sacctmgr` it must undo itself; only nodes are resumed.
        """
        self.lab("mend")
        daemons = ("slurmdbd", "slurmctld") if "slurmdbd" in self.lab("status") else ("slurmctld",)
        for daemon in daemons:
            self.until(lambda name=daemon: self._ready(name), 30, f"{daemon} answers")
        self.until(self._calm, 60, "no jobs and idle nodes")

    def report(self) -> str:
        """Jobs, nodes, daemons and the ends of the logs, for the text of a failure."""
        commands = ("squeue -r", "sinfo -N -l", "sinfo -R", "lab status")
        parts = [f"$ {command}\n{self._text(command)}" for command in commands]
        for log in sorted((self.folder / "log").glob("slurm*.log")):
            parts.append(f"-- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:]))
        return "\n".join(parts)

    def _ready(self, daemon: str) -> bool:
        return self._execute(("lab", "ready", daemon), 30).returncode == 0

    def _calm(self) -> bool:
        """Whether no jobs are there, nor their processes, and all nodes are idle; else does what leads there."""
        if self.jobs():
            self.cancel_all()
            return False
        if self.lab("sweep"):  # a controller that was killed may have forgotten a job that still runs
            return False
        if self.nodes_idle():
            return True
        for line in self.run("sinfo", "-hN", "-p", "gpu", "-o", "%N %T").splitlines():
            node, state = line.split()
            if state.startswith(("drain", "down")):
                self._execute(("scontrol", "update", f"nodename={node}", "state=resume"), 30)
        return False

    def _text(self, command: str) -> str:
        try:
            outcome = self._execute(command.split(), 15)
        except subprocess.TimeoutExpired:
            return "(no answer)\n"
        return outcome.stdout + outcome.stderr

    def _execute(
        self, command: tuple[str, ...] | list[str], seconds: float
    ) -> subprocess.CompletedProcess[str]:
        environment = os.environ | self.environment()
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )

    def _script(self, name: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run lab/start or lab/stop. Knobs in this process's own environment do not count."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SLURM")}
        environment |= {"SLURM_LAB_DIR": str(self.folder)} | variables
        command = [str(SCRIPTS / name)]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
