"""A stand-in for Slurm where there is none: programs on PATH that answer as Slurm does, and short words for submitting."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.config.presets import preset
from bench.launch.launchers import Submitted, take
from bench.launch.slurm import executor as slurm
from bench.launch.slurm import slurm_options
from bench.runfolder import submission as submissions
from bench.runfolder.submission import Execution, Share, Submission
from flowbench._core.errors import UserError

PROGRAM = Path(__file__).with_name("fake_slurm.py")


@dataclass
class Cluster:
    """The folder from which the stand-ins answer."""

    folder: Path

    def set(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def scripts(self) -> dict[str, str]:
        """What sbatch accepted, by job id, in that order."""
        return {f.name: f.read_text() for f in sorted((self.folder / "scripts").iterdir())}

    def calls(self, name: str) -> list[str]:
        """The arguments of each call of a program."""
        lines = (self.folder / "calls").read_text().splitlines()
        return [line.partition(" ")[2] for line in lines if line.split()[0] == name]

    def jobs(self) -> list[str]:
        """What is in the queue."""
        file = self.folder / "jobs.json"
        return list(json.loads(file.read_text())) if file.exists() else []


def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Put the stand-ins on PATH."""
    folder, programs = tmp_path / "cluster", tmp_path / "bin"
    (folder / "scripts").mkdir(parents=True)
    programs.mkdir()
    for name in (*slurm.PROGRAMS, "sacct"):
        file = programs / name
        file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{PROGRAM}" "{folder}" {name} "$@"\n')
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    slurm_options.sbatch_options.cache_clear()
    return Cluster(folder)


def make(folder: Path, shares: int, canaries: int = 0, device: str = "auto") -> Submission:
    cells = tuple(Share((f"cell{i}",), i < canaries) for i in range(shares))
    folder.mkdir(mode=0o700, exist_ok=True)
    made = submissions.new(folder, preset("quick"), Execution("slurm", device), cells, "abc", (), ())
    submissions.write(made)
    return made


def submit(submission: Submission, *words: str, sleep: Callable[[float], None] = lambda _: None) -> Submitted:
    pairs, _ = take([f"--slurm.{word}" for word in words])
    return slurm.submit(submission, slurm_options.parse(pairs.get("slurm", [])), sleep)


def refusal(submission: Submission, *words: str) -> str:
    with pytest.raises(UserError) as error:
        submit(submission, *words)
    assert "\n" not in str(error.value)
    return str(error.value)


def flag(script: str, name: str) -> str | None:
    found = re.search(rf"^#SBATCH --{name}(?:=(.*))?$", script, re.MULTILINE)
    return None if found is None else found[1] or ""


def left_behind(submission: Submission) -> list[str]:
    return sorted(p.name for p in (submission.folder / "slurm").iterdir())
