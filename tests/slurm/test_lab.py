"""The emulated cluster itself: what the other tests in this folder take for granted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .cluster import Cluster


def test_obstacle_names_the_missing_command(tmp_path: Path) -> None:
    sentence = Cluster.obstacle(path=str(tmp_path))
    assert sentence is not None
    assert "root" in sentence if os.geteuid() else "slurmctld" in sentence


def test_four_idle_nodes(cluster: Cluster) -> None:
    assert cluster.run("sinfo", "-hN", "-p", "gpu", "-o", "%N %t").split("\n")[:-1] == [
        f"node{i} idle" for i in (1, 2, 3, 4)
    ]
    assert cluster.nodes_idle()
    assert cluster.jobs() == {}


@pytest.mark.parametrize(("gpus", "devices"), [(1, "0"), (3, "0,1,2")])
def test_a_job_sees_the_gpus_it_asked_for(cluster: Cluster, gpus: int, devices: str) -> None:
    assert cluster.run("srun", f"--gres=gpu:{gpus}", "printenv", "CUDA_VISIBLE_DEVICES").strip() == devices


def test_squeue_and_sacct_know_a_job(cluster: Cluster) -> None:
    job = cluster.run("sbatch", "--parsable", "-o", "none", "--wrap", "true").strip()
    cluster.until(lambda: not cluster.jobs(), 20, "the job ends")
    query = ("sacct", "-Xn", "-j", job, "-o", "state")
    cluster.until(lambda: cluster.run(*query).split() == ["COMPLETED"], 20, "sacct has the row")


def test_array_tasks_are_listed_one_by_one(cluster: Cluster) -> None:
    job = cluster.run("sbatch", "--parsable", "--hold", "-o", "none", "-a", "0-2", "--wrap", "true").strip()
    assert cluster.jobs() == {f"{job}_{i}": "PENDING" for i in range(3)}
    cluster.cancel_all()
    assert cluster.jobs() == {}


def test_until_reports_what_it_saw(cluster: Cluster) -> None:
    job = cluster.run("sbatch", "--parsable", "--hold", "-o", "none", "--wrap", "true").strip()
    with pytest.raises(
        AssertionError, match=rf"(?s)0.1 s: the job runs.*{job}.*node4.*slurmctld up.*slurmd-node1.log"
    ):
        cluster.until(lambda: "RUNNING" in cluster.jobs().values(), 0.1, "the job runs")


def test_reset_mends_everything(cluster: Cluster) -> None:
    script = "trap '' TERM; sleep 1000"
    cluster.run("sbatch", "-o", "none", "-N4", "--requeue", "--wrap", f'srun bash -c "{script}"')
    cluster.until(lambda: "RUNNING" in cluster.jobs().values(), 20, "the job runs")
    cluster.lab("stop", "slurmctld", "KILL")
    cluster.lab("stop", "slurmdbd", "KILL")
    cluster.lab("crash", "node1")
    cluster.lab("stop", "node2", "KILL")
    if "NETNS=1" in (cluster.folder / "etc" / "knobs").read_text():
        cluster.lab("cut", "node3")
    cluster.reset()
    assert cluster.jobs() == {}
    assert cluster.nodes_idle()
    assert all(line.endswith(" up") for line in cluster.lab("status").splitlines())
    assert all(len(cluster.lab("pids", f"node{i}").split()) == 1 for i in (1, 2, 3, 4))  # slurmd
    assert cluster.run("srun", "-N4", "hostname").split()


@pytest.mark.knobs(DB=0)
def test_without_accounting(cluster: Cluster) -> None:
    with pytest.raises(AssertionError, match="accounting storage is disabled"):
        cluster.run("sacct")
    assert cluster.run("srun", "-N4", "true") == ""


@pytest.mark.knobs(DB=0, MAXARRAY=5)
def test_a_small_limit_of_arrays(cluster: Cluster) -> None:
    cluster.run("sbatch", "--hold", "-o", "none", "-a", "0-4", "--wrap", "true")
    with pytest.raises(AssertionError, match="Invalid job array specification"):
        cluster.run("sbatch", "--hold", "-o", "none", "-a", "0-5", "--wrap", "true")
