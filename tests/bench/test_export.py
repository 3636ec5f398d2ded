"""A trained MM-DiT in diffusers: the same outputs, and the options of public trainers."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from bench import data, export, grid
from bench.config.presets import PRESETS
from bench.models.block_options import Options
from bench.models.mmdit_size import MMDiTs
from bench.models.networks.mmdit import MMDiT
from bench.models.shape import Shape

from .runs import SMALL

diffusers = pytest.importorskip("diffusers")


@pytest.mark.parametrize("qk", ["rms", "none"])
def test_outputs_are_those_of_diffusers(qk: str) -> None:
    shape = Shape(
        3,
        48,
        3,
        2,
        12,
        4,
        text_length=5,
        text_width=20,
        pooled_width=9,
        architecture=f"mmdit:gelu=tanh,qk={qk}",
    )
    model = shape.build()
    assert isinstance(model, MMDiT)
    draw = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=draw)
    kind = MMDiTs(Options("tanh", qk))
    assert kind.parameters(shape) == sum(p.numel() for p in model.parameters())
    export.compare(model, export.counterpart(model, kind))


def test_a_trained_network_is_read_by_diffusers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, to = tmp_path / "run", tmp_path / "out"
    both = ["--formulations", "rf/lognorm(0.5,0.6)", "v/cos", "rf/shift(3)"]
    assert grid.main([*SMALL, "--model", "mmdit:gelu=tanh", *both, "--out", str(run)]) == 0
    assert export.main([str(run), "rf/lognorm(0.5,0.6)", "--to", str(to)]) == 0
    said = capsys.readouterr().out
    assert "--weighting_scheme logit_normal --logit_mean -0.5 --logit_std 0.6\n" in said
    assert "sd3_train_network.py: none, as its loss is ours for uniform timesteps only" in said
    assert "SimpleTuner: --flow_sigmoid_scale 0.6 --flow_schedule_shift 1.64872\n" in said
    assert diffusers.SD3Transformer2DModel.from_pretrained(to / "transformer").config.num_layers >= 1
    assert diffusers.FlowMatchEulerDiscreteScheduler.from_pretrained(to / "scheduler").config.shift == 1
    about = json.loads((to / "flowbench.json").read_text())
    assert about["formulation"] == "rf/lognorm(0.50,0.60)"
    assert about["trainers"]["sd-scripts, sd3_train_network.py"] is None
    assert '"noising_bias": 0.5, "noising_weight": -0.4' in about["trainers"]["OneTrainer"]
    cell = json.loads(next((run / "cells").glob("*/config.json")).read_text())["cell"]
    assert about["scale"] == asdict(data.load(cell["dataset"], **cell["images"]).train.scale)
    assert export.main([str(run), "v/cos", "--to", str(tmp_path / "cos")]) == 0
    assert not (tmp_path / "cos" / "scheduler").exists()
    assert "no public trainer that is known here" in capsys.readouterr().out
    assert export.main([str(run), "rf/shift(3)", "--to", str(to)]) == 0
    assert (
        '--weighting_scheme none, and "shift": 3 in scheduler/scheduler_config.json'
        in capsys.readouterr().out
    )


def test_the_usual_gelu_has_no_class_in_diffusers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert grid.main([*SMALL, "--formulations", "rf", "--out", str(run)]) == 0
    assert export.main([str(run), "rf", "--to", str(tmp_path / "out")]) == 2
    assert "--model mmdit:gelu=tanh" in capsys.readouterr().err
    assert grid.main([*SMALL, "--model", "mmdit:gelu=tan", "--out", str(run)]) == 2
    assert "did you mean 'tanh'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["imagenet", "cc12m"])
def test_the_study_at_its_size_is_exported(name: str) -> None:
    model, images = PRESETS[name].model, PRESETS[name].images
    shape = Shape(
        2, 64, 2, model.patch, images.resolution // 64, 16, 5, 20, 9, architecture=model.architecture
    )
    built = shape.build()
    assert isinstance(built, MMDiT)
    export.compare(built, export.counterpart(built, export.exported(model.architecture)))
