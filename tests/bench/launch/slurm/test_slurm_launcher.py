"""How shares become job arrays: real submitit and real processes, with programs in Slurm's place that answer as it does."""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from submitit.core.utils import DelayedSubmission

from bench.launch.launchers import Job, Submitted, read_jobs
from bench.runfolder import shield

from ...stand_ins import Cluster, flag, install, make, submit


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return install(tmp_path, monkeypatch)


def test_all_shares_are_one_array_and_are_written_down(cluster: Cluster, tmp_path: Path) -> None:
    submission = make(tmp_path / "run", 5)
    assert submit(submission) == Submitted((Job("100", (0, 1, 2, 3, 4)),))
    assert read_jobs(submission) == [Job("100", (0, 1, 2, 3, 4))]
    folder = submission.folder / "slurm" / "0"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for position in range(5):
        pickled = DelayedSubmission.load(folder / f"100_{position}_submitted.pkl")
        assert (pickled.function.folder, pickled.args) == (str(submission.folder), (position,))
        assert pickled.function.shares == (0, 1, 2, 3, 4)


def test_before_anything_was_submitted_there_are_no_arrays(cluster: Cluster, tmp_path: Path) -> None:
    assert read_jobs(make(tmp_path / "run", 1)) is None


def test_the_script_asks_for_what_a_worker_needs(cluster: Cluster, tmp_path: Path) -> None:
    submission = make(tmp_path / "it's a run", 3)
    submit(submission, "partition=gpu", "setup=module load x", "srun-args=--mpi=none", "time=1:00:00")
    (script,) = cluster.scripts().values()
    asked = {
        name: flag(script, name)
        for name in ("requeue", "signal", "time", "partition", "array", "wckey", "open-mode")
    }
    assert asked == {
        "requeue": "",
        "signal": "USR2@120",
        "time": "60",
        "partition": "gpu",
        "array": "0-2%3",
        "wckey": None,
        "open-mode": "append",
    }
    assert flag(script, "gpus-per-node") == "1"
    assert flag(script, "job-name") == f"flowbench-{submission.id}"
    lines = script.splitlines()
    (path,) = [i for i, line in enumerate(lines) if line.startswith("export PYTHONPATH=")]
    assert lines.index("module load x") < path < lines.index("export PYTHONSAFEPATH=1")
    words = shlex.split(script[script.index("\nsrun") :])
    begin = words.index("--mpi=none")
    assert words[begin - 1] == "--export=ALL"
    assert words[begin + 1 : begin + 5] == [sys.executable, "-I", "-S", "-c"]
    assert words[begin + 5] == Path(shield.__file__).read_text(), (
        "nothing of the snapshot runs before it is verified"
    )
    assert words[begin + 6 : begin + 9] == [str(submission.out), "checked", "abc"]
    assert words[begin + 9 : begin + 12] == [sys.executable, "-u", "-m"]


def test_a_worker_of_several_replicas_has_a_task_on_each_node(cluster: Cluster, tmp_path: Path) -> None:
    made = make(tmp_path / "run", 1)
    submit(replace(made, execution=replace(made.execution, replicas=4)), "nodes=2")
    (script,) = cluster.scripts().values()
    names = ("nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task")
    assert [flag(script, name) for name in names] == ["2", "1", "2", "16"]
    (line,) = [line for line in script.splitlines() if line.startswith("export OMP_NUM_THREADS=")]
    for cores, threads in (("SLURM_CPUS_PER_TASK=16", "8"), ("SLURM_CPUS_PER_TASK=1", "1"), (":", "1")):
        shell = f'unset OMP_NUM_THREADS SLURM_CPUS_PER_TASK; {cores}; {line}; printf %s "$OMP_NUM_THREADS"'
        shown = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True).stdout
        assert shown == threads, "of each of two replicas"


def test_python_takes_the_snapshot_first_and_then_what_was_there(cluster: Cluster, tmp_path: Path) -> None:
    submission = make(tmp_path / "it's a run", 1)
    submit(submission)
    (script,) = cluster.scripts().values()
    (line,) = [line for line in script.splitlines() if line.startswith("export PYTHONPATH=")]
    for before, after in (("/more", ":/more"), ("", "")):
        shell = f'PYTHONPATH={before}; {line}; printf %s "$PYTHONPATH"'
        shown = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True).stdout
        assert shown == f"{submission.code_folder}:{os.getcwd()}{after}"


def test_one_share_is_a_plain_job(cluster: Cluster, tmp_path: Path) -> None:
    submission = make(tmp_path / "run", 1, device="cpu")
    (array,) = submit(submission).jobs
    assert array.task(0) == "100"
    assert (submission.folder / "slurm" / "0" / "100_submitted.pkl").exists()
    (script,) = cluster.scripts().values()
    assert flag(script, "array") is None
    assert flag(script, "gpus-per-node") is None


def test_a_task_is_found_by_its_share() -> None:
    assert [Job("7", (3, 5, 9)).task(share) for share in (3, 5, 9)] == ["7_0", "7_1", "7_2"]


def waits(script: str) -> list[str]:
    return (
        (flag(script, "dependency") or "afterany:").removeprefix("afterany:").split(":")
        if "dependency" in script
        else []
    )


def test_a_long_list_becomes_lanes_of_arrays(cluster: Cluster, tmp_path: Path) -> None:
    cluster.set("array", "2")
    made = submit(make(tmp_path / "run", 7), "array-parallelism=3")
    assert [a.shares for a in made.jobs] == [(0, 1), (2, 3), (4, 5), (6,)]
    assert [waits(s) for s in cluster.scripts().values()] == [[], [], [], ["100"]]
    assert [flag(s, "array") for s in cluster.scripts().values()] == ["0-1%1", "0-1%1", "0-1%1", None]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 9))
def test_no_more_run_at_once_than_asked_for_and_no_fewer_than_could(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, shares: int, largest: int, at_once: int
) -> None:
    cluster.set("array", str(largest))
    before = set(cluster.scripts())
    made = submit(make(tmp_path_factory.mktemp("run"), shares), f"array-parallelism={at_once}")
    scripts = {job: s for job, s in cluster.scripts().items() if job not in before}
    assert sorted(i for a in made.jobs for i in a.shares) == list(range(shares))
    assert all(len(a.shares) <= largest for a in made.jobs)
    lane: dict[str, str] = {}
    most: dict[str, int] = {}
    for job, script in scripts.items():
        lane[job] = lane[waits(script)[-1]] if waits(script) else job
        throttle = flag(script, "array")
        most[lane[job]] = max(most.get(lane[job], 0), int(throttle.partition("%")[2]) if throttle else 1)
    assert sum(most.values()) <= at_once
    if shares <= at_once:
        assert len(set(lane.values())) == len(scripts), "all may run at once, yet one waits"


def test_the_others_wait_for_the_canaries(cluster: Cluster, tmp_path: Path) -> None:
    cluster.set("array", "3")
    made = submit(make(tmp_path / "run", 9, canaries=4))
    assert [a.shares for a in made.jobs] == [(0, 1, 2), (3,), (4, 5, 6), (7, 8)]
    assert [waits(s) for s in cluster.scripts().values()] == [[], [], ["100", "101"], ["100", "101"]]


def test_the_users_own_dependency_is_that_of_the_first_arrays(cluster: Cluster, tmp_path: Path) -> None:
    submit(make(tmp_path / "run", 3, canaries=1), "dependency=afterok:7")
    assert [flag(s, "dependency") for s in cluster.scripts().values()] == ["afterok:7", "afterany:100"]


def test_only_what_the_user_means_for_sbatch_is_in_its_environment(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stays = {"SLURM_CONF": "/etc/x", "SBATCH_ACCOUNT": "us", "SBATCH_WCKEY": "x", "HOME": str(tmp_path)}
    goes = {
        "SLURM_JOB_ID": "3",
        "SLURM_CPUS_PER_TASK": "1",
        "SBATCH_TIMELIMIT": "9",
        "SBATCH_PARTITION": "cpu",
        "RANK": "1",
    }
    for name, value in (stays | goes).items():
        monkeypatch.setenv(name, value)
    submit(make(tmp_path / "run", 2), "partition=gpu")
    seen = json.loads((cluster.folder / "environment.json").read_text())
    assert {name: seen.get(name) for name in stays | goes} == stays | dict.fromkeys(goes)
    assert os.environ["SLURM_JOB_ID"] == "3"
    assert os.environ["SBATCH_TIMELIMIT"] == "9"
