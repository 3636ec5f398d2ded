"""One training on several nodes: replicas meet, end together, and continue after a node is lost or a signal."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowbench._core import atomic

from ..bench.runs import metrics
from .cluster import Cluster
from .cluster_runs import Run, processes, until

TOGETHER = ("--steps", "60", "--formulations", "rf/lognorm(0,1)", "--replicas", "4", "--slurm.nodes=2")
ALONE = ("--steps", "60", "--formulations", "rf/lognorm(0,1)")


def followers(run: Run) -> list[int]:
    """The replicas of a run but the first."""
    return processes(f"-m bench.worker.follower {run.out}")


@pytest.mark.long
@pytest.mark.parametrize("shard", ["off", "blocks"])
def test_replicas_on_two_nodes_train_what_one_process_trains(
    cluster: Cluster, tmp_path: Path, shard: str
) -> None:
    """With divided parameters, the checkpoint is of parts, from both nodes."""
    options = (*TOGETHER, "--shard", shard)
    run, local = Run(tmp_path / "run", options, cluster), Run(tmp_path / "local", ALONE)
    run.submit()
    until(lambda: len(followers(run)) == 3, 120, "three more replicas", run)
    until(run.checkpoints, 180, "a checkpoint", run)
    victim = max(followers(run))
    cluster.run("kill", "-9", str(victim))
    run.finish()
    local.finish()
    (cell,), (other,) = run.cells(), local.cells()
    facts = atomic.read_object(cell / "status.json")["training"]
    assert (facts["replicas"], facts["divided"]) == (4, shard == "blocks")
    assert set(run.trainings()) == {1}, "it continued from a checkpoint"
    for found, plain in zip(metrics(cell), metrics(other), strict=True):
        assert found["step"] == plain["step"]
        assert found["val_loss"] == pytest.approx(plain["val_loss"], rel=1e-4)
    assert not followers(run)
    assert len(list(run.out.glob("submissions/*/share-0000-replica2.log"))) == 1


@pytest.mark.long
def test_a_warning_is_for_all_replicas(cluster: Cluster, tmp_path: Path) -> None:
    """They save once and are requeued together."""
    run = Run(tmp_path / "run", ("--steps", "400", *TOGETHER[2:]), cluster)
    run.submit()
    until(run.checkpoints, 180, "a checkpoint", run)
    (job,) = {task.partition("_")[0] for task in run.tasks()}
    cluster.run("scancel", "--signal=USR2", job)
    until(lambda: "stopped after step" in run.logs(), 60, "it stops", run)
    run.finish()
    assert set(run.trainings()) == {1}
    assert "continuing at step" in (run.cells()[0] / "log.txt").read_text()
