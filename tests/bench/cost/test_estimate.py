"""What a plan will cost: what is left to do, in hours and bytes, and in words."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cost import estimate as module
from bench.cost.estimate import describe, estimate
from bench.planning.requirements import Requirements
from bench.runfolder import store

from ..conftest import TINY
from ..planned_cells import finish, hours, planned


@pytest.mark.usefixtures("no_start")
def test_half_the_cells_take_half_the_hours_and_half_the_disk(tmp_path: Path) -> None:
    cells = [planned(tmp_path, seed) for seed in range(8)]
    whole = estimate(cells, [cells[:6], cells[6:]], TINY, False)
    half = estimate(cells, [cells[:4]], TINY, False)
    assert half.device_hours == pytest.approx(whole.device_hours / 2)
    assert (2 * half.disk_bytes, 2 * half.peak_bytes) == (whole.disk_bytes, whole.peak_bytes)
    assert whole.longest_hours == pytest.approx(whole.device_hours * 6 / 8)


@pytest.mark.usefixtures("no_start")
def test_replicas_share_the_training_and_wait_for_the_rest(tmp_path: Path) -> None:
    cells = [planned(tmp_path, seed) for seed in range(2)]
    requirements = Requirements(TINY, "shapes")
    training = 2 * requirements.training / 1e12 / 3600
    one, four = (estimate(cells, [cells], TINY, False, tflops=1, replicas=count) for count in (1, 4))
    assert four.longest_hours == pytest.approx(one.longest_hours - training * 3 / 4)
    assert four.device_hours == pytest.approx(4 * four.longest_hours)
    assert "on 4 devices" in describe(four)


@pytest.mark.usefixtures("no_start")
def test_blocks_that_are_computed_again_are_one_more_forward_pass(tmp_path: Path) -> None:
    """Of a network's three, with the backward pass; as the worker's own operations, and by cells that did so."""
    cells, recipe = [planned(tmp_path, seed) for seed in range(2)], TINY.training
    requirements = Requirements(TINY, "shapes")
    again = 2 * recipe.steps * recipe.batch * requirements.shape.flops() / 1e12
    plain, other = (
        estimate(cells, [cells], TINY, False, tflops=1, recompute=recompute).device_hours * 3600
        for recompute in (False, True)
    )
    assert other == pytest.approx(plain + again)
    assert again == pytest.approx(2 * requirements.steps / 3 / 1e12)
    done = planned(tmp_path, 5, "done")
    finish(done, {"seconds": 30.0, "pack": 1, "recompute": True}, {"seconds": 1e-9, "pack": 1})
    found = estimate([done, *cells], [cells[:1]], TINY, False, recompute=True).device_hours * 3600
    assert found == pytest.approx(30, rel=0.01), "as long as a finished cell took"


@pytest.mark.usefixtures("no_start")
def test_trained_cells_take_no_training_and_images_that_are_there_no_generation(tmp_path: Path) -> None:
    requirements, rate = Requirements(TINY, "shapes"), 1e12 * 3600
    trained = planned(tmp_path, 0, "trained")
    measuring = sum(requirements.generation.values()) + requirements.metrics
    assert hours([trained], tflops=1.0) == pytest.approx(measuring / rate)
    assert hours([planned(tmp_path, 1)], tflops=1.0) == pytest.approx(
        (measuring + requirements.training) / rate
    )
    assert estimate([trained], [[trained]], TINY, False).peak_bytes == requirements.evaluation_files
    for control in TINY.evaluation.controls:
        path = store.images_file(trained.folder, TINY.evaluation.sampling, control.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert hours([trained], tflops=1.0) == pytest.approx(requirements.metrics / rate)
    assert estimate([trained], [[replace(trained, state="done")]], TINY).how == "nothing is left to run"


@pytest.mark.usefixtures("no_start")
def test_a_checkpoint_leaves_only_the_rest_of_the_steps(tmp_path: Path) -> None:
    fresh, begun, rate = planned(tmp_path, 0), planned(tmp_path, 1), 1e12 * 3600
    begun.folder.mkdir(parents=True)
    for step in (6, 9):
        (begun.folder / f"checkpoint-{step:08}.safetensors").touch()
    saved = hours([fresh], tflops=1.0) - hours([begun], tflops=1.0)
    assert saved == pytest.approx(Requirements(TINY, "shapes").training * 9 / 12 / rate)


def test_every_worker_has_to_start(tmp_path: Path) -> None:
    cells = [planned(tmp_path, seed) for seed in range(4)]
    one, four = (
        estimate(cells, shares, TINY, False, tflops=1e6) for shares in ([cells], [[c] for c in cells])
    )
    assert four.device_hours == pytest.approx(4 * one.device_hours, rel=1e-3)


def test_in_words() -> None:
    found = module.Estimate(3.24, 0.5, 1_400_000_000, 5_100_000_000, "from 6 finished cells")
    assert describe(found) == (
        "about 3.2 device-hours (from 6 finished cells), 30 minutes of them in the longest share, "
        "1.4 GB kept, at most 5.1 GB while training"
    )
    alone = replace(found, longest_hours=3.24, device_hours=3.24)
    assert "longest" not in describe(alone)


def test_estimating_imports_no_torch() -> None:
    code = "import sys, bench.cost.estimate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
