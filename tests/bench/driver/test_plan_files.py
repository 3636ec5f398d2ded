"""The plan of a command as a file: what analysis reads and no other file holds."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import formulations
from bench.config.experiment import Grid
from bench.config.identity import full
from bench.config.presets import preset
from bench.driver import plan_files
from bench.models.flat import Flat
from bench.models.networks.mmdit import MMDiT
from bench.planning import plan
from bench.planning.plan import Chosen
from bench.planning.requirements import by_cell
from bench.runfolder import manifest
from flowbench._core import atomic
from formulations import Formulation, register
from formulations.targets import velocity

from ..conftest import TINY

GOLDEN = {
    "program": "bench.grid",
    "command": ["--preset", "smoke"],
    "evaluation": "969c428d4e78",
    "sampling": "ab5ffd4d0351",
    "recipes": [
        {
            "recipe": {
                "model": {"depth": 1, "width": 32, "heads": 1, "patch": 4},
                "images": {"resolution": 16, "train": 512, "validation": 256},
                "training": {
                    "steps": 60, "batch": 32, "lr": 0.0005, "betas": [0.9, 0.999], "gradients": "plain",
                    "warmup": 10, "decay": 0.0, "weight_decay": 0.0,
                    "ema": 0.02, "dropout": 0.1, "validations": 3, "validation_images": 64, "precision": "float32",
                },
                "text": "tinyclip",
                "evaluation": {"samples": 64, "start": "native", "extractor": "tinyclip"},
            },
            "parameters": 45104,
            "train_flops": 3872194560.0,
        }
    ],
    "formulations": {
        "rf/lognorm(0.00,1.00)": {"base": "rf", "sampler": "lognorm(0.00,1.00)"},
        "eps/linear": {"base": "eps/linear", "sampler": "uniform"},
    },
    "cells": [
        {
            "cell": "3879c5c6077b", "formulation": "rf/lognorm(0.00,1.00)", "dataset": "shapes", "seed": 0,
            "recipe": 0,
        },
        {"cell": "7e185dc901d8", "formulation": "eps/linear", "dataset": "shapes", "seed": 0, "recipe": 0},
    ],
}  # fmt: skip


def made(grid: Grid, out: Path = Path("/nonexistent")) -> plan.Plan:
    return plan.make(grid, out)


def test_golden() -> None:
    grid = preset("smoke")
    found = plan_files.manifest_of(made(grid), ["--preset", "smoke"]).json()
    assert found.pop("grid") == full(grid)
    metrics = {metric["name"]: metric["higher_is_better"] for metric in found.pop("metrics")}
    assert [metrics[name] for name in ("val_loss", "clip", "fid", "kid")] == [False, True, False, False]
    assert found == GOLDEN


def test_a_recipe_for_each_dataset_and_size() -> None:
    grid = replace(
        TINY,
        formulations=("rf", "v/cos"),
        datasets=("shapes", "digits"),
        seeds=2,
        depths=(1, 2),
        budgets=(6, 12),
    )
    planned = made(grid)
    found = plan_files.manifest_of(planned, []).json()
    assert len(found["recipes"]) == 8
    assert len({json.dumps(r["recipe"], sort_keys=True) for r in found["recipes"]}) == 4
    for listed, p in zip(found["cells"], planned.cells, strict=True):
        recipe = found["recipes"][listed["recipe"]]
        kept = full(p.cell)
        assert {name: recipe["recipe"][name] for name in ("model", "images", "training", "text")} == {
            name: kept[name] for name in ("model", "images", "training", "text")
        }
        assert listed == {
            "cell": p.cell.id, "formulation": p.cell.formulation, "dataset": p.cell.dataset, "seed": p.cell.seed,
            "recipe": listed["recipe"],
        }  # fmt: skip
    shapes, digits = found["recipes"][0], found["recipes"][4]
    assert shapes["recipe"] == digits["recipe"]
    assert shapes["parameters"] > digits["parameters"], "three colours"
    twice = found["recipes"][1]
    assert (twice["parameters"], twice["train_flops"]) == (shapes["parameters"], 2 * shapes["train_flops"])


@pytest.mark.parametrize("depth", [1, 3])
def test_parameters_are_those_of_the_network(depth: int) -> None:
    grid = replace(TINY, model=replace(TINY.model, depth=depth))
    planned = made(grid)
    (recipe,) = plan_files.manifest_of(planned, []).recipes
    shape = by_cell(grid)(planned.cells[0].cell).shape
    assert recipe.parameters == Flat(MMDiT(shape, 1)).weights.shape[1]
    assert recipe.train_flops == 3 * 12 * 8 * shape.flops(), "steps x batch; validations train nothing"


def test_parts_say_which_sampler_is_behind_which_base() -> None:
    """Together they are the study's cross: five of EDM's names hide it."""
    expected = {
        "rf": ("rf", "uniform"),
        "rf/mode(1.29)": ("rf", "mode(1.29)"),
        "v/cos/clock(laplace(0,0.5))": ("v/cos", "clock(laplace(0.00,0.50))"),
        "edm(0,0.6)": ("edm", "lognorm(0.00,0.60)"),
        "edm/rf": ("edm", "uniform"),
        "edm/cos": ("edm", "cosmap"),
        "edm/rf(B)": ("edm", "shift(0.50,cosmap)"),
        "edm(-0.4,1,1)": ("F(1.00)/ve", "lognorm(-0.40,1.00)"),
        "x/rf/lognorm(0.8,0.8)@v": ("x/rf@v", "lognorm(0.80,0.80)"),
        "v/cos/cosmap+minsnr(5)": ("v/cos+minsnr(5.00)", "cosmap"),
    }
    assert {name: plan_files.parts(name) for name in expected} == expected


def test_parts_put_together_are_the_formulation() -> None:
    """The base with its sampler names the same formulation, for all that are listed."""
    for name in formulations.names("all"):
        base, sampler = plan_files.parts(name)
        head = "F(0.50)/ve" if base == "edm" else str(base)
        stem, mark, tail = head.partition("@" if "@" in head else "+")
        assert formulations.get(f"{stem}/{sampler}{mark}{tail}").name == name


def test_a_plugins_formulation_has_its_own_sampler() -> None:
    @register("manifest/late(k)")
    def late(k: float = 2.0) -> Formulation:
        return Formulation(path=lambda t: (1 - t, t**k), target=velocity, sampler="lognorm(0,1)")

    own = "manifest/late(2.00)"
    assert plan_files.parts("manifest/late(2.00)") == (own, "lognorm(0.00,1.00)")
    assert plan_files.parts("manifest/late(2)/cosmap") == (own, "cosmap")
    assert plan_files.parts("manifest/late(3)+bell")[0] == "manifest/late(3.00)+bell"


def test_a_confirmation_has_a_file_of_its_own(tmp_path: Path) -> None:
    planned = made(TINY, tmp_path)
    plan_files.write(planned, ["a"])
    before = (tmp_path / "grid.json").read_bytes()
    fresh = replace(
        made(replace(TINY, seeds=3, first_seed=1000), tmp_path), chosen=Chosen("so", (0, 1), ("rf",))
    )
    plan_files.write(fresh, ["b"])
    assert (tmp_path / "grid.json").read_bytes() == before
    kept = atomic.read_object(tmp_path / "confirm.json")
    assert kept["chosen"] == {"why": "so", "seeds": [0, 1], "among": ["rf"]}
    assert sorted({cell["seed"] for cell in kept["cells"]}) == [1000, 1001, 1002]
    assert atomic.read_object(tmp_path / "grid.json").get("chosen") is None


def test_what_is_written_is_read(tmp_path: Path) -> None:
    planned = made(TINY, tmp_path)
    plan_files.write(planned, ["a", "command"])
    (found,) = manifest.read(tmp_path)
    assert found == plan_files.manifest_of(planned, ["a", "command"])
    assert [cell.id for cell in found.cells] == [p.cell.id for p in planned.cells]
    assert found.settings == TINY.evaluation.controls


def test_it_imports_no_torch() -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom bench.driver import plan_files\nfrom bench.planning import plan\n"
        "from bench.config.presets import preset\n"
        "plan_files.manifest_of(plan.make(preset('paper'), Path('nowhere')), [])\nsys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
