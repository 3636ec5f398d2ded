"""What happens on a cluster: every scenario ends with all cells done, and with the results of an undisturbed local run."""

from __future__ import annotations

import json
import os
import random
import signal
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from ..faults import Faults
from .cluster import Cluster
from .cluster_runs import Run, differences, processes, until, workers

LONG = ("--steps", "1500")
"""Some seconds of training: long enough to be disturbed."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two cells, trained without a cluster."""
    return reference(tmp_path_factory.mktemp("undisturbed"), *LONG)


def reference(folder: Path, *options: str) -> Run:
    run = Run(folder / "run", options)
    done = run.command()
    assert done.returncode == 0, done.stderr
    return run


def training(run: Run, cells: int = 2) -> float:
    """Wait until so many cells have a checkpoint; returns the time."""
    until(lambda: len({p.parent for p in run.checkpoints()}) >= cells, 60, "checkpoints", run)
    return time.monotonic()


@pytest.mark.long
def test_an_array_with_a_throttle(cluster: Cluster, tmp_path: Path, faults: Faults) -> None:
    """1. Twenty-four cells, three at a time."""
    options = ("--seeds", "12", "--steps", "40")
    run = Run(tmp_path / "run", options, cluster)
    began = time.monotonic()
    said = run.submit("--slurm.array_parallelism=3")
    assert "submitted 24 cells" in said
    most = 0
    while tasks := run.tasks():
        most = max(most, list(tasks.values()).count("RUNNING"))
        time.sleep(0.2)
    assert 2 <= most <= 3
    took = time.monotonic() - began
    assert "24 cells" in run.finish()
    assert not list(differences(run, reference(tmp_path / "local", *options)))
    assert len({state["host"] for state in run.states()}) >= 3
    assert set(run.trainings()) == {1}
    faults(
        1, "24 cells, three at a time, on four nodes", "all done", recover=None, note=f"{took:.0f} s in all"
    )


@pytest.mark.long
def test_preemption_in_mid_training(
    cluster: Cluster, tmp_path: Path, undisturbed: Run, faults: Faults
) -> None:
    """2. A job of higher priority takes the nodes."""
    run = Run(tmp_path / "run", (*LONG, "--slurm.partition=preempt"), cluster)
    run.submit()
    hit = training(run)
    cluster.run("sbatch", "-p", "gpu", "-N4", "--gpus-per-node=8", "-o", "none", "--wrap", "sleep 2")
    until(lambda: "stopped after step" in run.logs(), 60, "the workers save", run)
    noticed = time.monotonic()
    until(lambda: "continuing at step" in run.logs(), 90, "they continue", run)
    faults(
        2, "preempted in mid training", "`requeued: Slurm's warning`", noticed - hit, time.monotonic() - hit
    )
    run.finish()
    assert max(state["restart"] for state in run.states()) >= 1
    assert not list(differences(run, undisturbed))


@pytest.mark.long
def test_the_time_limit(cluster: Cluster, tmp_path: Path, faults: Faults) -> None:
    """3. The allocation ends in mid training."""
    # Slurm looks at limits every half minute, and a fast machine makes 350 steps in a second
    longer = ("--steps", "16000")
    run = Run(tmp_path / "run", longer, cluster)
    run.submit()
    hit = training(run)
    for task in run.tasks():
        cluster.run("scontrol", "update", f"jobid={task}", "EndTime=now+90")
    until(lambda: "stopped after step" in run.logs() or not run.tasks(), 60, "the workers save", run)
    noticed = time.monotonic()
    until(lambda: "continuing at step" in run.logs() or not run.tasks(), 90, "they continue", run)
    faults(
        3,
        "the time limit in mid training",
        "`requeued: Slurm's warning`",
        noticed - hit,
        time.monotonic() - hit,
    )
    run.finish()
    assert max(state["restart"] for state in run.states()) >= 1
    assert not list(differences(run, reference(tmp_path / "local", *longer)))


def test_requeued_by_hand(cluster: Cluster, tmp_path: Path, undisturbed: Run, faults: Faults) -> None:
    """4. `scontrol requeue`."""
    run = Run(tmp_path / "run", LONG, cluster)
    run.submit()
    hit = training(run)
    for task in run.tasks():
        cluster.run("scontrol", "requeue", task)
    until(lambda: run.logs().count("continuing at step") >= 2, 90, "they continue", run)
    faults(4, "`scontrol requeue`", "the log: continuing at step N", None, time.monotonic() - hit)
    run.finish()
    assert [state["restart"] for state in run.states()] == [1, 1]
    assert not list(differences(run, undisturbed))


@pytest.mark.long
@pytest.mark.parametrize("how", ["stop", "crash"])
def test_a_node_is_lost(cluster: Cluster, tmp_path: Path, undisturbed: Run, faults: Faults, how: str) -> None:
    """5. A node's slurmd dies: its processes live on while Slurm starts the job elsewhere; or the whole node dies."""
    run = Run(tmp_path / "run", LONG, cluster)
    run.submit()
    training(run)
    node = next(state["host"] for state in run.states())
    hit = time.monotonic()
    cluster.lab(*(("stop", node, "KILL") if how == "stop" else ("crash", node)))
    until(lambda: any(state["restart"] for state in run.states()) or done(run), 120, "started elsewhere", run)
    what = "a node's slurmd is killed, its worker lives on" if how == "stop" else "a node dies"
    faults(5, what, "the worker is started again on another node", None, time.monotonic() - hit)
    run.finish()
    assert not list(differences(run, undisturbed))


def done(run: Run) -> bool:
    return len(list(run.out.glob("cells/*/*/result.json"))) == len(run.cells())


@pytest.mark.long
def test_killed_at_twenty_moments(cluster: Cluster, tmp_path: Path, faults: Faults) -> None:
    """6. The workers' Python is killed twenty times, in every stage; once the supervisor itself, with all below it."""
    options = ("--seeds", "4", "--steps", "1500")
    run = Run(tmp_path / "run", options, cluster)
    run.submit()
    rng, kills = random.Random(6), 0
    before: dict[str, set[Path]] = {}
    while kills < 20 and not done_all(run, 8):
        time.sleep(rng.uniform(0.0, 1.2))
        for pid in rng.sample(alive := workers(run), len(alive)):
            share, now = progress_of(run, pid)
            if share and now != before.get(share):  # four deaths at the same place are a failure of the cell
                before[share] = now
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    kills += 1
                break
    assert kills >= 10
    run.finish()
    assert run.logs().count("was killed by SIGKILL") >= 10
    assert not list(differences(run, reference(tmp_path / "local", *options)))
    faults(
        6,
        f"the workers' Python is killed {kills} times, in every stage",
        "the log: was killed by SIGKILL; started again",
    )


def progress_of(run: Run, pid: int) -> tuple[str, set[Path]]:
    """A worker's share, and the files that its cell has; nothing if it has just died."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        folder, index = words[words.index("bench.worker.begin") + 1 :][:2]
    except (OSError, ValueError):
        return "", set()
    (cell,) = json.loads((Path(folder) / "submission.json").read_text())["shares"][int(index)]["cells"]
    return f"{folder}/{index}", set((run.out / "cells" / cell).rglob("*.safetensors"))


def done_all(run: Run, count: int) -> bool:
    return len(list(run.out.glob("cells/*/*/result.json"))) == count


@pytest.mark.long
def test_the_supervisor_is_killed(cluster: Cluster, tmp_path: Path, undisturbed: Run, faults: Faults) -> None:
    """6. With its supervisor a worker is lost to the same command, which starts it again."""
    run = Run(tmp_path / "run", LONG, cluster)
    run.submit()
    hit = training(run)
    for pid in processes(f"submitit.core._submit {run.out}"):
        os.kill(pid, signal.SIGKILL)
    until(lambda: "2 stale" in run.command("--status").stdout, 60, "it is noticed", run)
    noticed = time.monotonic()
    run.finish()
    faults(
        6,
        "whole tasks are killed",
        "`--status`: stale, lost; the same command continues",
        noticed - hit,
        None,
    )
    assert run.trainings() == [1, 1]
    assert not list(differences(run, undisturbed))


def test_a_task_is_cancelled(cluster: Cluster, tmp_path: Path, undisturbed: Run, faults: Faults) -> None:
    """7. `scancel` of one task: it saves and is not requeued; the same command continues."""
    run = Run(tmp_path / "run", LONG, cluster)
    run.submit()
    hit = training(run)
    victim = sorted(run.tasks())[0]
    cluster.run("scancel", victim)
    until(lambda: victim not in run.tasks(), 30, "it is gone", run)
    faults(
        7,
        "`scancel` of a task",
        "`--status`: stale, CANCELLED; the same command continues",
        time.monotonic() - hit,
        None,
    )
    until(lambda: not run.tasks(), 60, "the other ends", run)
    assert "1 stale" in run.command("--status").stdout
    run.finish("--retry", "failed")
    assert run.trainings() == [1, 1]
    assert not list(differences(run, undisturbed))


@pytest.mark.long
def test_the_controller_is_restarted(
    cluster: Cluster, tmp_path: Path, undisturbed: Run, faults: Faults
) -> None:
    """8. slurmctld is away for some seconds."""
    run = Run(tmp_path / "run", LONG, cluster)
    run.submit()
    training(run)
    cluster.lab("stop", "slurmctld", "KILL")
    status = run.command("--status")
    assert "Traceback" not in status.stderr
    cluster.lab("start", "slurmctld")
    cluster.until(lambda: answers(cluster), 30, "slurmctld is back")
    run.finish()
    faults(
        8,
        "slurmctld is killed and started in mid run",
        "`--status`: what the folder shows, and that Slurm does not answer",
    )
    assert run.trainings() == [1, 1]
    assert not list(differences(run, undisturbed))


def answers(cluster: Cluster) -> bool:
    try:
        return "UP" in cluster.run("scontrol", "ping")
    except AssertionError:
        return False


@pytest.mark.long
@pytest.mark.knobs(DB=0, MAXARRAY=5)
def test_no_accounting(cluster: Cluster, tmp_path: Path, undisturbed: Run, faults: Faults) -> None:
    """9. Without sacct a lost worker is noticed, too."""
    run = Run(tmp_path / "run", LONG, cluster)
    run.submit()
    hit = training(run)
    victim = processes(f"submitit.core._submit {run.out}")[0]
    os.kill(victim, signal.SIGKILL)
    until(lambda: "1 stale" in run.command("--status").stdout, 60, "it is noticed", run)
    faults(9, "no accounting, a task is killed", "`--status`: stale", time.monotonic() - hit, None)
    run.finish()
    assert not list(differences(run, undisturbed))


@pytest.mark.long
@pytest.mark.knobs(DB=0, MAXARRAY=5)
def test_an_array_larger_than_allowed(cluster: Cluster, tmp_path: Path, faults: Faults) -> None:
    """12. Twelve cells where an array has at most five tasks."""
    options = ("--seeds", "6", "--steps", "40")
    run = Run(tmp_path / "run", options, cluster)
    assert "12 cells" in run.submit()
    run.finish()
    assert set(run.trainings()) == {1}
    assert not list(differences(run, reference(tmp_path / "local", *options)))
    faults(12, "an array larger than MaxArraySize", "several arrays", None, None)


def test_the_driver_dies_between_sbatch_and_its_books(
    cluster: Cluster, tmp_path: Path, undisturbed: Run, faults: Faults
) -> None:
    """10. What Slurm took is found by its name; nothing runs twice."""
    run = Run(tmp_path / "run", LONG, cluster)
    fake = tmp_path / "bin" / "sbatch"
    fake.parent.mkdir()
    real = next(
        str(Path(folder, "sbatch"))
        for folder in cluster.environment()["PATH"].split(":")
        if Path(folder, "sbatch").exists()
    )
    fake.write_text(f'#!/bin/sh\n{real} "$@"\nkill -KILL $PPID\n')
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    killed = run.command(PATH=f"{fake.parent}:{cluster.environment()['PATH']}")
    assert killed.returncode == -signal.SIGKILL
    assert len(run.tasks()) == 2
    began = time.monotonic()
    run.finish()
    faults(
        10,
        "the command is killed between sbatch and its books",
        "the next command finds the array and waits for it, or cancels and replaces it",
        None,
        time.monotonic() - began,
    )
    assert run.trainings() == [1, 1]
    assert not run.tasks()
    assert not list(differences(run, undisturbed))


def test_two_drivers_at_once(cluster: Cluster, tmp_path: Path, undisturbed: Run, faults: Faults) -> None:
    """11. Each cell is trained once."""
    run = Run(tmp_path / "run", LONG, cluster)
    both = [run.start() for _ in range(2)]
    said = ["".join(p.communicate(timeout=120)) for p in both]
    assert [p.returncode for p in both] == [0, 0], said
    assert sum("submitted 2 cells" in text for text in said) == 1
    assert sum("nothing to submit" in text for text in said) == 1
    run.finish()
    faults(11, "two commands at once on one folder", "one submits, the other says: nothing to submit")
    assert run.trainings() == [1, 1]
    assert not list(differences(run, undisturbed))


@pytest.mark.long
def test_submitted_from_inside_a_job_and_no_secrets(
    cluster: Cluster, tmp_path: Path, undisturbed: Run
) -> None:
    """The variables of the job that we are in do not reach the workers; secrets reach no file."""
    run = Run(tmp_path / "run", LONG, cluster)
    command = " ".join([sys.executable, "-m", "bench.grid", *(f"'{o}'" for o in run.options)])
    log = tmp_path / "log"
    cluster.run(
        "sbatch", "-n3", "--wait", "-o", str(log), "--wrap", f"cd {os.getcwd()} && {command}", seconds=120
    )
    assert "submitted 2 cells" in log.read_text()
    run.finish()
    assert not list(differences(run, undisturbed))
    for file in run.out.rglob("*"):
        assert not file.is_file() or b"hunter2" not in file.read_bytes(), file
