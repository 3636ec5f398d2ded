"""What a plan will cost: the sources of its rates, what is left to do, and the sizes of files."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from bench import amounts as by_formula
from bench import estimate as module
from bench import store
from bench.amounts import Amounts
from bench.config import Cell, Evaluation, Grid, Images, full
from bench.estimate import Rates, describe, estimate
from bench.measure import measure
from bench.models.flat import Flat
from bench.models.mmdit import MMDiT
from bench.plan import Planned, State
from bench.settings import Setting
from bench.setup import Setup
from samplers.errors import UserError

from .conftest import TINY

SLOW = Rates.alike(1e6)


def planned(
    folder: Path, seed: int, state: State = "missing", grid: Grid = TINY, name: str = "rf"
) -> Planned:
    cell = Cell(name, "shapes", seed, grid.model, grid.images, grid.training, grid.text)
    return Planned(cell, folder / "cells" / cell.id, state)


def finish(p: Planned, training: Any, measuring: Any = None) -> None:
    store.write_json(p.folder / "config.json", {"cell": full(p.cell)})
    store.write_json(p.folder / "status.json", {"state": "trained", "training": training})
    if measuring:
        store.write_json(p.folder / TINY.evaluation.id / "result.json", {"measuring": measuring})


def hours(
    cells: list[Planned], share: list[Planned] | None = None, grid: Grid = TINY, **options: Any
) -> float:
    return estimate(cells, [share or cells], grid, **({"executor": "slurm"} | options)).device_hours


@pytest.fixture
def no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "START", 0.0)
    monkeypatch.setattr(Amounts, "reference", 0.0)
    monkeypatch.setattr(Amounts, "encoding", 0.0)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [SLOW], "from steps timed"
    monkeypatch.setattr(module, "from_timing", lambda work, device, usual: found)


@pytest.mark.usefixtures("timed")
def test_a_stated_rate_beats_finished_cells_beat_timing_beats_the_usual_rate(tmp_path: Path) -> None:
    done, todo = planned(tmp_path, 0, "done"), planned(tmp_path, 1)
    finish(done, {"seconds": 30, "pack": 3, "device": "a GPU"}, {"seconds": 6, "pack": 3})

    def how(cells: list[Planned], **options: Any) -> str:
        return estimate(cells, [[todo]], TINY, **options).how

    assert "at 3 TFLOP/s" in how([done, todo], tflops=3.0)
    assert how([done, todo]) == "from 1 finished cell of this recipe, on a GPU"
    assert how([todo], executor="local") == how([done, todo])  # found in the folder, not in the plan
    done.folder.rename(tmp_path / "elsewhere")
    assert how([todo], executor="local") == "from steps timed"
    assert "at 50 TFLOP/s" in how([todo], executor="slurm")
    assert "at 0.1 TFLOP/s" in how([todo], executor="slurm", device="cpu")


@pytest.mark.usefixtures("no_start")
def test_finished_cells_tell_their_share_of_their_pack(tmp_path: Path) -> None:
    cells = [planned(tmp_path, 0, "done"), planned(tmp_path, 1, "done"), planned(tmp_path, 2)]
    for p, seconds in zip(cells, (40.0, 20.0), strict=False):
        finish(p, {"seconds": seconds, "pack": 4}, {"seconds": 8, "pack": 4})
    # rates of 10 and 5 seconds a cell: the median lies between; measuring takes 2
    assert 7 < hours(cells, cells[2:]) * 3600 < 11


@pytest.mark.usefixtures("no_start")
def test_another_evaluation_still_knows_the_training(tmp_path: Path) -> None:
    cells = [planned(tmp_path, 0, "trained"), planned(tmp_path, 1)]
    finish(cells[0], {"seconds": 10.0, "pack": 1})
    found = estimate(cells, [cells[1:]], TINY, "slurm")
    amounts = Amounts(TINY, "shapes")
    operations = amounts.training + sum(amounts.generation.values()) + amounts.metrics
    assert found.device_hours * 3600 == pytest.approx(10 * operations / amounts.training)
    assert "by its operations" in found.how


@pytest.mark.parametrize(
    "damage", [None, 3, {}, {"seconds": 0, "pack": 1}, {"seconds": "x", "pack": 1}, {"seconds": 1, "pack": 0}]
)
def test_unsound_notes_are_no_source(tmp_path: Path, damage: Any) -> None:
    done, todo = planned(tmp_path, 0, "done"), planned(tmp_path, 1)
    finish(done, damage)
    assert "TFLOP/s" in estimate([done, todo], [[todo]], TINY, "slurm").how


def test_cells_of_another_recipe_are_no_source(tmp_path: Path) -> None:
    other = replace(TINY, training=replace(TINY.training, batch=16))
    finish(planned(tmp_path, 0, "trained", other), {"seconds": 5, "pack": 1})
    todo = planned(tmp_path, 1)
    assert "TFLOP/s" in estimate([todo], [[todo]], TINY, "slurm").how


@pytest.mark.usefixtures("no_start")
def test_half_the_cells_take_half_the_hours_and_half_the_disk(tmp_path: Path) -> None:
    cells = [planned(tmp_path, seed) for seed in range(8)]
    whole = estimate(cells, [cells[:6], cells[6:]], TINY, "slurm")
    half = estimate(cells, [cells[:4]], TINY, "slurm")
    assert half.device_hours == pytest.approx(whole.device_hours / 2)
    assert (2 * half.disk_bytes, 2 * half.peak_bytes) == (whole.disk_bytes, whole.peak_bytes)
    assert whole.longest_hours == pytest.approx(whole.device_hours * 6 / 8)


@pytest.mark.usefixtures("no_start")
def test_trained_cells_take_no_training_and_images_that_are_there_no_generation(tmp_path: Path) -> None:
    amounts, rate = Amounts(TINY, "shapes"), 1e12 * 3600
    trained = planned(tmp_path, 0, "trained")
    measuring = sum(amounts.generation.values()) + amounts.metrics
    assert hours([trained], tflops=1.0) == pytest.approx(measuring / rate)
    assert hours([planned(tmp_path, 1)], tflops=1.0) == pytest.approx((measuring + amounts.training) / rate)
    assert estimate([trained], [[trained]], TINY, "slurm").peak_bytes == amounts.evaluation_files
    for control in TINY.evaluation.controls:
        path = store.images_file(trained.folder, TINY.evaluation.sampling, control.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert hours([trained], tflops=1.0) == pytest.approx(amounts.metrics / rate)
    assert estimate([trained], [[replace(trained, state="done")]], TINY).how == "nothing is left to run"


@pytest.mark.usefixtures("no_start")
def test_a_checkpoint_leaves_only_the_rest_of_the_steps(tmp_path: Path) -> None:
    fresh, begun, rate = planned(tmp_path, 0), planned(tmp_path, 1), 1e12 * 3600
    begun.folder.mkdir(parents=True)
    for step in (6, 9):
        (begun.folder / f"checkpoint-{step:08}.safetensors").touch()
    saved = hours([fresh], tflops=1.0) - hours([begun], tflops=1.0)
    assert saved == pytest.approx(Amounts(TINY, "shapes").training * 9 / 12 / rate)


def test_every_worker_has_to_start(tmp_path: Path) -> None:
    cells = [planned(tmp_path, seed) for seed in range(4)]
    one, four = (
        estimate(cells, shares, TINY, "slurm", tflops=1e6) for shares in ([cells], [[c] for c in cells])
    )
    assert four.device_hours == pytest.approx(4 * one.device_hours, rel=1e-3)


def several(folder: Path) -> list[Planned]:
    """Two cells of one graph, one of another seed, and one of another size."""
    larger = replace(TINY, model=replace(TINY.model, depth=2))
    two = [planned(folder, 0, name=name) for name in ("rf", "v/cos")]
    return [*two, planned(folder, 1), planned(folder, 0, grid=larger)]


def test_another_seed_has_its_own_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = {"members": 2, "training": 1e8, "evaluation": 1e8}
    told = {"device": "abacus", "rates": [one], "extraction": None, "encoding": None}
    monkeypatch.setattr(module, "ask", lambda *given: told)
    cells = several(tmp_path)[:3]
    found = estimate(cells, [cells], TINY, "local", "cpu")
    assert found.how.startswith("from steps of 2 cells in one graph timed on abacus")


def test_steps_are_timed_in_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cells = several(tmp_path)
    found = estimate(cells, [cells], TINY, "local", "cpu")
    assert found.how.startswith("from steps of 2 cells in one graph of each of 2 sizes timed on ")
    assert len(list(tmp_path.glob("flowbench/steps/*.json"))) == 2
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    assert (
        "could not be timed here: they took more than" in estimate(cells, [cells], TINY, "local", "cpu").how
    )


@pytest.mark.parametrize("dataset", ["shapes", "digits"])
def test_the_sizes_of_the_text_are_those_of_a_loaded_dataset(dataset: str, setup: Setup) -> None:
    from bench.setup import make

    made = setup if dataset == "shapes" else make(dataset, TINY, setup.captions.tokens.device)
    assert Amounts(TINY, dataset).shape == made.shape(TINY.model, TINY.images.resolution)


def test_sizes_of_clip_are_read_from_its_folder(tmp_path: Path) -> None:
    sizes = {"max_position_embeddings": 16, "hidden_size": 32}
    store.write_json(tmp_path / "config.json", {"projection_dim": 24, "text_config": sizes})
    known = by_formula.text(f"clip:{tmp_path}")
    assert (known.length, known.width, known.pooled, known.note) == (16, 32, 24, "")
    p = planned(tmp_path, 0)
    guessed = estimate([p], [[p]], replace(TINY, text="clip:nowhere"), "slurm")
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
    amounts = Amounts(grid, "shapes")
    weights = Flat(MMDiT(amounts.shape, 1))
    store.write_tensors(tmp_path / "ema.safetensors", weights.member(weights.weights[0]))
    pictures = torch.zeros(12, 3, resolution, resolution, dtype=torch.uint8)
    parts = [*measure(pictures, setup, path_length=torch.zeros(12)).per_sample, "fid"]
    values, images = {}, 0
    for control in grid.evaluation.controls:
        name = control.name
        values |= {f"{name}/{key}": torch.zeros(samples) for key in parts}
        path = store.images_file(tmp_path, grid.evaluation.sampling, name)
        each = {"images": pictures[:1].repeat(samples, 1, 1, 1), "path_length": torch.zeros(samples)}
        store.write_tensors(path, each)
        images += path.stat().st_size
    store.write_tensors(tmp_path / "per_sample.safetensors", values)
    left = 2 * (tmp_path / "ema.safetensors").stat().st_size
    notes = by_formula.NOTES + by_formula.LINE * TINY.training.validations
    assert amounts.weight_files - notes == pytest.approx(left, rel=0.05)
    evaluated = images + (tmp_path / "per_sample.safetensors").stat().st_size
    assert amounts.evaluation_files == pytest.approx(evaluated, rel=0.05)
    six = {
        f"{i}/{name}": each
        for i in range(6)
        for name, each in load_file(tmp_path / "ema.safetensors").items()
    }
    save_file(six, tmp_path / "checkpoint")
    assert amounts.checkpoint_files == pytest.approx(2 * (tmp_path / "checkpoint").stat().st_size, rel=0.1)


def test_in_words() -> None:
    found = module.Estimate(3.24, 0.5, 1_400_000_000, 5_100_000_000, "from 6 finished cells")
    assert describe(found) == (
        "about 3.2 device-hours (from 6 finished cells), 30 minutes of them in the longest share, "
        "1.4 GB kept, at most 5.1 GB while training"
    )
    alone = replace(found, longest_hours=3.24, device_hours=3.24)
    assert "longest" not in describe(alone)


def test_estimating_imports_no_torch() -> None:
    code = "import sys, bench.estimate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_device_that_is_not_there_is_a_mistake_with_a_workers_sentence(tmp_path: Path) -> None:
    from bench.device import NoDevice, pick_device

    with pytest.raises(NoDevice) as workers:
        pick_device("nonsense")
    with pytest.raises(UserError) as ours:
        module.check_device("nonsense")
    assert str(ours.value) == str(workers.value)


LARGE = replace(TINY, evaluation=replace(TINY.evaluation, extractor="inception:somewhere"))


def test_a_large_extractor_has_its_own_price(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inception is timed beside a tiny generator, whose operations take far longer each."""
    p, one = planned(tmp_path, 0, grid=LARGE), {"members": 1, "training": 1e8, "evaluation": 1e8}
    asked: list[dict[str, Any]] = []

    def ask(given: dict[str, Any], device: str, patience: float) -> dict[str, Any]:
        asked.append(given)
        image = 0.1 if given["extractor"] else None
        return {"device": "abacus", "rates": [one], "extraction": image, "encoding": None}

    monkeypatch.setattr(module, "ask", ask)
    monkeypatch.setattr(module, "START", 0.0)
    monkeypatch.setattr(Amounts, "encoding", 0.0)
    small = estimate([p], [[p]], TINY, "local").device_hours * 3600
    large = estimate([p], [[p]], LARGE, "local").device_hours * 3600
    assert [given["extractor"] for given in asked] == [None, "inception:somewhere"]
    images = TINY.images.validation + TINY.evaluation.samples * len(TINY.evaluation.controls)
    tiny = images * by_formula.EXTRACTORS["tinyclip"] / 1e8
    assert large - small == pytest.approx(0.1 * images - tiny)


@pytest.mark.usefixtures("no_start")
def test_a_large_extractor_that_was_never_timed_has_the_rate_of_large_networks(tmp_path: Path) -> None:
    """Finished cells tell how fast the generator is, and nothing of Inception."""
    cells = [planned(tmp_path, 0, "trained", LARGE), planned(tmp_path, 1, grid=LARGE)]
    finish(cells[0], {"seconds": 100.0, "pack": 1})
    amounts = Amounts(LARGE, "shapes")
    generating = sum(amounts.generation.values()) * 100.0 / amounts.training
    measuring = amounts.metrics / (module.TFLOPS * 1e12)
    assert hours(cells, cells[1:], LARGE) * 3600 == pytest.approx(100.0 + generating + measuring)


def test_real_encoders_are_timed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from bench import rates

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cpu, loaded = torch.device("cpu"), []
    real = rates.extractor
    monkeypatch.setattr(rates, "extractor", lambda *given: loaded.append(given) or real(*given))
    found = [rates.encoder("tinyclip", 16, cpu, made) for made in (rates.of_images, rates.of_captions) * 2]
    assert all(each and 0 < each < 60 for each in found)
    assert 2 <= len(loaded) <= 4, "once each on a quiet machine"
    assert rates.encoder(None, 16, cpu, rates.of_images) is None
