"""Stages of training on a cluster: a follower trains after its parent, whichever command submitted that."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.config.experiment import Cell
from bench.runfolder import store
from flowbench._core import atomic

from .cluster import Cluster
from .cluster_runs import Run, differences

FIRST = ("--steps", "40")
BOTH = (*FIRST, "--stage", "steps=20,lr=1e-4,weights=raw")


@pytest.mark.long
@pytest.mark.parametrize("apart", [False, True], ids=["together", "parents of another command"])
def test_a_follower_begins_with_the_weights_of_its_parent(
    cluster: Cluster, tmp_path: Path, apart: bool
) -> None:
    run = Run(tmp_path / "run", BOTH, cluster)
    if apart:
        Run(run.out, FIRST, cluster).submit()
    run.finish()
    cells = {folder: store.read_config(folder / "config.json", "cell", Cell) for folder in run.cells()}
    followers = {folder: cell.init for folder, cell in cells.items() if cell.init}
    assert (len(cells), len(followers)) == (4, 2)
    for folder, init in followers.items():
        parent = run.out / "cells" / init.cell.id
        assert cells[parent] == init.cell
        assert cells[parent].formulation == cells[folder].formulation
        begun = atomic.read_object(folder / "config.json")["parent"]
        assert begun == atomic.read_about(parent / "raw.safetensors")["sha256"]
    assert set(run.trainings()) == {1}
    if not apart:
        local = Run(tmp_path / "local", BOTH)
        local.finish()
        assert not list(differences(run, local))
