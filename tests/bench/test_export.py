"""A trained MM-DiT in diffusers: the same outputs, and flags under which its trainers draw the same timesteps."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

import formulations
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
    assert "--weighting_scheme logit_normal --logit_mean -0.5 --logit_std 0.6" in capsys.readouterr().out
    assert diffusers.SD3Transformer2DModel.from_pretrained(to / "transformer").config.num_layers >= 1
    assert diffusers.FlowMatchEulerDiscreteScheduler.from_pretrained(to / "scheduler").config.shift == 1
    about = json.loads((to / "flowbench.json").read_text())
    assert about["formulation"] == "rf/lognorm(0.50,0.60)"
    cell = json.loads(next((run / "cells").glob("*/config.json")).read_text())["cell"]
    assert about["scale"] == asdict(data.load(cell["dataset"], **cell["images"]).train.scale)
    assert export.main([str(run), "v/cos", "--to", str(tmp_path / "cos")]) == 0
    assert not (tmp_path / "cos" / "scheduler").exists()
    assert "scripts cannot train it" in capsys.readouterr().out
    assert export.main([str(run), "rf/shift(3)", "--to", str(to)]) == 0
    assert (
        '--weighting_scheme none and "shift": 3 in scheduler/scheduler_config.json' in capsys.readouterr().out
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


@pytest.mark.parametrize(
    ("name", "shift"),
    [
        ("rf", 1),
        ("rf/lognorm(0.7,0.6)", 1),
        ("rf/lognorm(-1,1.2)", 1),
        ("rf/mode(1.29)", 1),
        ("rf/shift(3)", 3),
        ("rf/shift(2,shift(1.5))", 3),
        ("rf/shift(3,lognorm(-0.5,0.6))", 1),
        ("rf/shift(0.5,mode(1.29))", 0.5),
    ],
)
def test_the_trainers_flags_draw_our_timesteps(name: str, shift: float) -> None:
    """As diffusers' scripts draw them: a density for u, and the u-th of the scheduler's timesteps."""
    from diffusers.training_utils import compute_density_for_timestep_sampling

    parser = argparse.ArgumentParser()
    for flag, kind in (
        ("precondition_outputs", int),
        ("weighting_scheme", str),
        ("logit_mean", float),
        ("logit_std", float),
        ("mode_scale", float),
    ):
        parser.add_argument(f"--{flag}", type=kind)
    found = export.trainer_flags(name)
    assert found is not None
    assert found[1] == shift, "a shift of the scheduler only where no flag can do it"
    given = vars(parser.parse_args(found[0].split()))
    assert given.pop("precondition_outputs") == 0, "the loss is that of the network's own output"
    torch.manual_seed(0)
    u = compute_density_for_timestep_sampling(batch_size=40_000, **given)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=found[1])
    theirs = scheduler.timesteps[(u * 1000).long().clamp(max=999)].double() / 1000
    ours = formulations.get(name).law(torch.linspace(0.0005, 0.9995, 1000, dtype=torch.float64))
    quantiles = torch.linspace(0.02, 0.98, 25, dtype=torch.float64)
    torch.testing.assert_close(
        theirs.quantile(quantiles), ours.double().quantile(quantiles), atol=0.012, rtol=0
    )


def test_other_formulations_have_no_flags() -> None:
    for name in ("rf/cosmap", "rf/shift(3,cosmap)", "rf/curriculum(lognorm(0,1),0.66)"):
        assert export.trainer_flags(name) is None
    assert not export.is_rectified_flow("v/cos")
    assert export.is_rectified_flow("rf/mode(1.29)")
