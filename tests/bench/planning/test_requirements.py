"""The sizes of texts and files by formula are those of real ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from bench import encoders
from bench.config.experiment import Evaluation, Images
from bench.config.sampling_settings import Setting
from bench.cost.estimate import estimate
from bench.models.flat import Flat
from bench.models.networks.mmdit import MMDiT
from bench.planning import requirements as by_formula
from bench.planning.requirements import Requirements
from bench.runfolder import store
from bench.worker.measure import measure
from bench.worker.setup import Setup
from flowbench._core import atomic

from ..conftest import TINY
from ..planned_cells import planned


@pytest.mark.parametrize("dataset", ["shapes", "digits"])
def test_the_sizes_of_the_text_are_those_of_a_loaded_dataset(dataset: str, setup: Setup) -> None:
    from bench.worker.setup import make

    made = setup if dataset == "shapes" else make(dataset, TINY, setup.captions.device)
    assert Requirements(TINY, dataset).shape == made.shape(TINY.model)


def test_sizes_of_clip_are_read_from_its_folder(tmp_path: Path) -> None:
    sizes = {"max_position_embeddings": 16, "hidden_size": 32}
    atomic.write_json(tmp_path / "config.json", {"projection_dim": 24, "text_config": sizes})
    known = encoders.get(f"clip:{tmp_path}").text_sizes()
    assert known
    assert (known.length, known.width, known.pooled) == (16, 32, 24)
    p = planned(tmp_path, 0)
    guessed = estimate([p], [[p]], replace(TINY, text="clip:nowhere"), False)
    assert guessed.how.endswith("text sizes as of CLIP ViT-L/14, those of clip:nowhere cannot be read")


@pytest.mark.parametrize(("resolution", "samples"), [(16, 12), (32, 100)])
def test_the_sizes_of_files_are_those_of_real_ones(
    tmp_path: Path, setup: Setup, resolution: int, samples: int
) -> None:
    import torch

    grid = replace(
        TINY,
        images=Images(resolution),
        evaluation=Evaluation((Setting(4, 1.0), Setting(2, 5.0)), samples=samples),
    )
    requirements = Requirements(grid, "shapes")
    weights = Flat(MMDiT(requirements.shape, 1))
    atomic.write_tensors(tmp_path / "ema.safetensors", weights.member(weights.weights[0]))
    pictures = torch.zeros(12, 3, resolution, resolution, dtype=torch.uint8)
    parts = [*measure(pictures, setup, path_length=torch.zeros(12)).per_sample, "fid"]
    values, images = {}, 0
    for control in grid.evaluation.controls:
        name = control.name
        values |= {f"{name}/{key}": torch.zeros(samples) for key in parts}
        path = store.images_file(tmp_path, grid.evaluation.sampling, name)
        each = {"images": pictures[:1].repeat(samples, 1, 1, 1), "path_length": torch.zeros(samples)}
        atomic.write_tensors(path, each)
        images += path.stat().st_size
    atomic.write_tensors(tmp_path / "per_sample.safetensors", values)
    left = 2 * (tmp_path / "ema.safetensors").stat().st_size
    notes = by_formula.NOTES + by_formula.LINE * TINY.training.validations
    assert requirements.weight_files - notes == pytest.approx(left, rel=0.05)
    evaluated = images + (tmp_path / "per_sample.safetensors").stat().st_size
    assert requirements.evaluation_files == pytest.approx(evaluated, rel=0.05)
    six = {
        f"{i}/{name}": each
        for i in range(6)
        for name, each in load_file(tmp_path / "ema.safetensors").items()
    }
    save_file(six, tmp_path / "checkpoint")
    assert requirements.checkpoint_files == pytest.approx(
        2 * (tmp_path / "checkpoint").stat().st_size, rel=0.1
    )
