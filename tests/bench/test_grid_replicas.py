"""``--replicas R``: the command with several processes a worker, where one is killed, or all raise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench import grid
from flowbench._core import atomic

from .launch import commands
from .launch.commands import command, forget
from .runs import cell_of, metrics

PLUGIN = (
    commands.PLUGIN
    + """

@register("my/killed")
def killed() -> Formulation:
    def weight(at):
        if late(at) and "bench.worker.follower" in sys.orig_argv and not (HERE / "once").exists():
            (HERE / "once").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return 1 + at.t

    return made(weight)
"""
).replace("import subprocess\n", "import subprocess\nimport sys\n")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLOWBENCH_TEST", str(tmp_path))
    (tmp_path / "mine.py").write_text(PLUGIN)
    forget()
    return tmp_path


def log(out: Path) -> str:
    (file,) = out.glob("submissions/*/share-0000.log")
    return file.read_text()


@pytest.mark.parametrize("shard", ["off", pytest.param("blocks", marks=pytest.mark.long)])
def test_a_replica_that_is_killed_costs_a_start(here: Path, shard: str) -> None:
    """With divided parameters amid a step, where the other gathers them."""
    names = "my/killed", "rf/lognorm(0,1)"
    (here / "once").touch()
    assert grid.main(command(here, here / "one", *names)) == 0
    (here / "once").unlink()
    several = here / "several"
    how = ["--replicas", "2", "--accumulate", "2", "--shard", shard]
    assert grid.main([*command(here, several, *names), *how]) == 0
    assert log(several).count("the worker was killed by SIGKILL") == 1
    assert log(several).count("replica 1: ") == 0, "it has nothing to report"
    for name in ("my/killed", "rf/lognorm(0.00,1.00)"):
        found, plain = (metrics(cell_of(out, name)) for out in (several, here / "one"))
        assert [line["step"] for line in found] == [line["step"] for line in plain]
        for a, b in zip(found, plain, strict=True):
            assert a["val_loss"] == pytest.approx(b["val_loss"], rel=1e-4)
            assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-4)
        facts = atomic.read_object(cell_of(several, name) / "status.json")["training"]
        assert (facts["replicas"], facts["accumulate"], facts["divided"]) == (2, 2, shard == "blocks")


@pytest.mark.long
def test_a_cell_that_raises_in_all_replicas_leaves_the_others(here: Path) -> None:
    out = here / "run"
    several = ["--replicas", "2", "--checkpoint", "5"]
    assert grid.main([*command(here, out, "my/raises", "rf/lognorm(0,1)"), *several]) == 1
    assert log(out).count("started again") == 3, "twice with both cells, then with each alone"
    status = atomic.read_object(cell_of(out, "my/raises") / "status.json")
    assert status["error"]["message"].endswith("ValueError: a bad day")
    assert atomic.read_object(cell_of(out, "rf/lognorm(0.00,1.00)") / "status.json")["state"] == "trained"
    assert os.listdir(out / "cells")
