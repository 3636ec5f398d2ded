"""Stages of training end to end: a second stage on a subset, with an objective of a plugin that compares with the first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch

import formulations
from analysis.report import __main__ as page
from bench import grid, keep, objectives
from bench.config.experiment import Cell
from bench.drawing import choose, trained
from bench.runfolder import store
from bench.training import checkpoint
from bench.training.checkpoint import Checkpointer, State, Stopped
from flowbench._core import atomic
from flowbench._core.plugin import load_plugin

from .runs import SMALL, files

PLUGIN = '''"""Flow matching that stays near the network that a stage begins with."""
from bench.objectives import Objective, register
from formulations import loss, mix


class Near(Objective):
    frozen = ("start",)
    passes = 4 / 3

    def __init__(self, strength):
        self.strength = strength

    def loss(self, network, batch, c, state):
        asked = mix(batch.x, batch.noise, c), c, batch.tokens, batch.pooled
        out, before = network(*asked), state.start(*asked)
        return loss(out, batch.x, batch.noise, c) + self.strength * (out - before).square().mean((-3, -2, -1))


@register("near(strength)")
def near(strength: float = 1.0):
    """Flow matching, and the distance to the outputs of the parent."""
    return Near(strength)
'''
STAGE = ["--stage", "train-images=48,steps=6,warmup=2,lr=1e-3,objective=near(0.5)"]


@pytest.fixture
def near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The plugin, forgotten afterwards; workers in this process have it already."""
    kept = dict(objectives.registry.entries)
    objectives.registry.entries.pop("near", None)
    objectives.get.cache_clear()
    file = tmp_path / "near.py"
    file.write_text(PLUGIN)

    def load(path: Path) -> tuple[str, ...]:
        return () if "code" in Path(path).parts else load_plugin(path)

    monkeypatch.setattr(formulations, "load_plugin", load)
    yield file
    objectives.registry.entries.clear()
    objectives.registry.entries.update(kept)
    objectives.get.cache_clear()


def stages_of(out: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """The cells' folders of the first and of the second stage, by formulation."""
    found: tuple[dict[str, Path], dict[str, Path]] = ({}, {})
    for file in out.glob("cells/*/config.json"):
        cell = store.read_config(file, "cell", Cell)
        found[len(cell.ancestors)][cell.formulation] = file.parent
    return found


def weights(cell: Path, kind: str) -> dict[str, torch.Tensor]:
    tensors, _ = atomic.read_tensors(cell / f"{kind}.safetensors")
    return tensors


@pytest.mark.usefixtures("here")
def test_a_second_stage_trains_ranks_and_continues_where_it_was_interrupted(
    near: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, whole = tmp_path / "run", tmp_path / "whole"
    options = [*SMALL, "--plugin", str(near), *STAGE]
    assert grid.main([*options, "--out", str(whole)]) == 0
    assert (whole / "ranking.csv").read_text().count("\n") == 3
    said = capsys.readouterr().out
    assert "other configurations" not in said, "parents are part of the plan"
    assert "trained in 2 stages: 12 steps, then from its ema weights steps=6," in said
    first, second = stages_of(whole)
    assert first.keys() == second.keys() == {"rf/lognorm(0.00,1.00)", "eps/linear"}
    for name, cell in second.items():
        assert not list(first[name].glob("*/result.json")), "a parent is not measured"
        assert len(list(cell.glob("*/result.json"))) == 1
        about = json.loads((cell / "config.json").read_text())
        assert about["parent"] == atomic.read_about(first[name] / "ema.safetensors")["sha256"]
        assert about["cell"]["init"]["cell"]["training"]["steps"] == 12
    manifest = json.loads((whole / "grid.json").read_text())
    assert [r["recipe"]["init"]["weights"] for r in manifest["recipes"]] == ["ema"]
    assert len(manifest["cells"]) == 2
    assert set(pd.read_parquet(whole / "results.parquet")["status"]) == {"done"}
    assert {choose(trained(whole), name, None, None).folder for name in second} == set(second.values())
    assert page.main([str(whole)]) == 0
    html = (whole / "report.html").read_text()
    assert "trained in 2 stages: 12 steps" in html
    assert "Trained in 2 stages: 12 steps" in html, "also figures"
    assert keep.main([str(whole), "eps/linear", str(tmp_path / "kept"), "--plugin", str(near)]) == 0
    card = (tmp_path / "kept" / "README.md").read_text()
    assert "12 steps of" in card
    assert "6 steps of" in card
    assert "objective `near(0.50)`" in card or "objective `near(0.5)`" in card
    capsys.readouterr()
    assert grid.main([*options, "--out", str(whole), "--dry-run"]) == 0
    assert "stage 2, which changes steps=6" in capsys.readouterr().out
    before = files(whole)
    assert grid.main(["--config", str(whole / "config.toml"), "--device", "cpu", "--out", str(whole)]) == 0
    assert files(whole) == before, "the file of the run repeats it, and nothing is left to do"

    for stop in (5, 3):  # in the first stage, and then in the second

        def stops(self: Checkpointer, step: int, state: State, stop: int = stop) -> None:
            if step == stop:
                self.save(step, state)
                raise Stopped(f"asked: stopped after step {step}")

        with monkeypatch.context() as patch:
            patch.setattr(checkpoint.Checkpointer, "__call__", stops)
            assert grid.main([*options, "--out", str(out)]) != 0
    assert grid.main([*options, "--out", str(out)]) == 0
    for mine, other in zip(stages_of(out), (first, second), strict=True):
        for name, cell in mine.items():
            for file in store.WEIGHTS:
                assert (cell / file).read_bytes() == (other[name] / file).read_bytes()

    # a parent that is trained is used: here nothing moves from its weights
    assert grid.main([*SMALL, "--stage", "steps=2,lr=1e-12,weights=raw", "--out", str(whole)]) == 0
    (again,) = (
        file.parent
        for file in whole.glob("cells/*/config.json")
        if (cell := store.read_config(file, "cell", Cell)).training.lr == 1e-12
        and cell.formulation == "eps/linear"
    )
    for name, tensor in weights(again, "ema").items():
        torch.testing.assert_close(tensor, weights(first["eps/linear"], "raw")[name], rtol=0, atol=1e-6)


@pytest.mark.usefixtures("here")
def test_a_stage_whose_parent_diverged_fails_and_names_the_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    options = [*SMALL, "--lr", "1e30", "--stage", "steps=2,lr=1e-3", "--out", str(out)]
    assert grid.main(options) == 1
    error = capsys.readouterr().err
    assert "that diverged at step " in error
    assert "--retry all" in error
    assert "--retry failed" not in error, "the parent would diverge no less"
    first, second = stages_of(out)
    assert not second, "nothing of them was begun"
    states = [json.loads(file.read_text()) for file in out.glob("cells/*/status.json")]
    assert sorted(status["state"] for status in states) == ["diverged", "diverged", "failed", "failed"]
    assert len({status["error"]["cause"] for status in states if "error" in status}) == 2, (
        "each names its parent"
    )
    for status in states:
        if "error" in status:
            assert any(cell.name in status["error"]["message"] for cell in first.values())
    before = files(out)
    assert grid.main(options) == 1
    assert files(out) == before
    capsys.readouterr()
    assert grid.main([*options, "--status"]) == 1
    said = capsys.readouterr().out
    assert "'--retry all'" in said
    assert "--retry failed" not in said
