"""How many operations a device does in a second: the sources, in their order, and what each one gives."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench import encoders
from bench.cost import estimate as whole
from bench.cost import price as module
from bench.cost.estimate import estimate
from bench.cost.price import Rates
from bench.planning.plan import Planned
from bench.planning.requirements import Requirements, by_cell
from flowbench._core.errors import UserError

from ..conftest import TINY
from ..planned_cells import finish, hours, planned

SLOW = Rates.alike(1e6)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "from_timing", lambda work, device, parts: ([SLOW], "from steps timed"))


@pytest.mark.usefixtures("timed")
def test_a_stated_rate_beats_finished_cells_beat_timing_beats_the_usual_rate(tmp_path: Path) -> None:
    done, todo = planned(tmp_path, 0, "done"), planned(tmp_path, 1)
    finish(done, {"seconds": 30, "pack": 3, "device": "a GPU"}, {"seconds": 6, "pack": 3})

    def how(cells: list[Planned], **options: Any) -> str:
        return estimate(cells, [[todo]], TINY, **options).how

    assert "at 3 TFLOP/s" in how([done, todo], tflops=3.0)
    assert how([done, todo]) == "from 1 finished cell of this recipe, on a GPU"
    assert how([todo], here=True) == how([done, todo])  # found in the folder, not in the plan
    done.folder.rename(tmp_path / "elsewhere")
    assert how([todo], here=True) == "from steps timed"
    assert "at 50 TFLOP/s" in how([todo], here=False)
    assert "at 0.1 TFLOP/s" in how([todo], here=False, device="cpu")


@pytest.mark.usefixtures("no_start")
def test_finished_cells_count_by_their_share_of_their_pack(tmp_path: Path) -> None:
    cells = [planned(tmp_path, 0, "done"), planned(tmp_path, 1, "done"), planned(tmp_path, 2)]
    for p, seconds in zip(cells, (40.0, 20.0), strict=False):
        finish(p, {"seconds": seconds, "pack": 4}, {"seconds": 8, "pack": 4})
    # rates of 10 and 5 seconds a cell: the median lies between; measuring takes 2
    assert 7 < hours(cells, cells[2:]) * 3600 < 11


@pytest.mark.usefixtures("no_start")
def test_the_rate_is_that_of_one_device(tmp_path: Path) -> None:
    """A training that took four devices 10 seconds takes one of them 40."""
    cells = [planned(tmp_path, 0, "trained"), planned(tmp_path, 1)]
    for count in (1, 4):
        finish(cells[0], {"seconds": 10.0, "pack": 1, "replicas": count})
        (rate,) = module.from_finished(cells, [TINY.model], TINY, by_cell(TINY), 1e12)[0].values()
        assert rate.training == pytest.approx(Requirements(TINY, "shapes").training / (10 * count))


@pytest.mark.usefixtures("no_start")
def test_another_evaluation_still_has_the_training(tmp_path: Path) -> None:
    cells = [planned(tmp_path, 0, "trained"), planned(tmp_path, 1)]
    finish(cells[0], {"seconds": 10.0, "pack": 1})
    found = estimate(cells, [cells[1:]], TINY, False)
    requirements = Requirements(TINY, "shapes")
    operations = requirements.training + sum(requirements.generation.values()) + requirements.metrics
    assert found.device_hours * 3600 == pytest.approx(10 * operations / requirements.training)
    assert "by its operations" in found.how


@pytest.mark.parametrize("facts", [None, {}, {"seconds": 0, "pack": 1}])
def test_a_training_without_a_time_is_no_source(tmp_path: Path, facts: Any) -> None:
    done, todo = planned(tmp_path, 0, "done"), planned(tmp_path, 1)
    finish(done, facts)
    assert "TFLOP/s" in estimate([done, todo], [[todo]], TINY, False).how


def test_cells_of_another_recipe_are_no_source(tmp_path: Path) -> None:
    other = replace(TINY, training=replace(TINY.training, batch=16))
    finish(planned(tmp_path, 0, "trained", other), {"seconds": 5, "pack": 1})
    todo = planned(tmp_path, 1)
    assert "TFLOP/s" in estimate([todo], [[todo]], TINY, False).how


def several(folder: Path) -> list[Planned]:
    """Two cells of one graph, one of another seed, and one of another size."""
    larger = replace(TINY, model=replace(TINY.model, depth=2))
    two = [planned(folder, 0, name=name) for name in ("rf", "v/cos")]
    return [*two, planned(folder, 1), planned(folder, 0, grid=larger)]


def test_another_seed_has_its_own_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = {"members": 2, "training": 1e8, "evaluation": 1e8}
    rates = {"device": "abacus", "rates": [one], "extraction": None, "encoding": None}
    monkeypatch.setattr(module, "ask", lambda *given: rates)
    cells = several(tmp_path)[:3]
    found = estimate(cells, [cells], TINY, True, "cpu")
    assert found.how.startswith("from steps of 2 cells in one graph timed on abacus")


def test_steps_are_timed_in_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cells = several(tmp_path)
    found = estimate(cells, [cells], TINY, True, "cpu")
    assert found.how.startswith("from steps of 2 cells in one graph of each of 2 sizes timed on ")
    assert len(list(tmp_path.glob("flowbench/steps/*.json"))) == 2
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    assert "could not be timed here: they took more than" in estimate(cells, [cells], TINY, True, "cpu").how


def test_a_device_that_is_not_there_is_a_mistake_with_a_workers_sentence(tmp_path: Path) -> None:
    from bench.machine.device import NoDevice, pick_device

    with pytest.raises(NoDevice) as workers:
        pick_device("nonsense")
    with pytest.raises(UserError) as ours:
        module.check_device("nonsense")
    assert str(ours.value) == str(workers.value)


LARGE = replace(TINY, evaluation=replace(TINY.evaluation, extractor="inception:somewhere"))


def test_a_large_extractor_has_its_own_price(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inception is timed next to a tiny generator, whose operations take far longer each."""
    p, one = planned(tmp_path, 0, grid=LARGE), {"members": 1, "training": 1e8, "evaluation": 1e8}
    asked: list[dict[str, Any]] = []

    def ask(given: dict[str, Any], device: str, patience: float) -> dict[str, Any]:
        asked.append(given)
        image = 0.1 if given["extractor"] else None
        return {"device": "abacus", "rates": [one], "extraction": image, "encoding": None}

    monkeypatch.setattr(module, "ask", ask)
    monkeypatch.setattr(whole, "START", 0.0)
    monkeypatch.setattr(Requirements, "encoding", 0.0)
    small = estimate([p], [[p]], TINY, True).device_hours * 3600
    large = estimate([p], [[p]], LARGE, True).device_hours * 3600
    assert [given["extractor"] for given in asked] == [None, "inception:somewhere"]
    images = TINY.images.validation + TINY.evaluation.samples * len(TINY.evaluation.controls)
    tiny = images * encoders.get("tinyclip").image_flops / 1e8
    assert large - small == pytest.approx(0.1 * images - tiny)


@pytest.mark.usefixtures("no_start")
def test_a_large_extractor_that_was_never_timed_has_the_rate_of_large_networks(tmp_path: Path) -> None:
    """Finished cells show how fast the generator is, and nothing of Inception."""
    cells = [planned(tmp_path, 0, "trained", LARGE), planned(tmp_path, 1, grid=LARGE)]
    finish(cells[0], {"seconds": 100.0, "pack": 1})
    requirements = Requirements(LARGE, "shapes")
    generating = sum(requirements.generation.values()) * 100.0 / requirements.training
    measuring = requirements.metrics / (module.TFLOPS * 1e12)
    assert hours(cells, cells[1:], LARGE) * 3600 == pytest.approx(100.0 + generating + measuring)


def test_real_encoders_are_timed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from bench.speed import device_rates

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cpu, loaded = torch.device("cpu"), []
    for name in ("extractor", "text_encoder"):
        load = partial(lambda real, *given: loaded.append(given) or real(*given), getattr(device_rates, name))
        monkeypatch.setattr(device_rates, name, load)
    found = [
        device_rates.timed_encoder("tinyclip", 16, cpu, made)
        for made in (device_rates.of_images, device_rates.of_captions) * 2
    ]
    assert all(each and 0 < each < 60 for each in found)
    assert 2 <= len(loaded) <= 4, "once each on a quiet machine"
    assert device_rates.timed_encoder(None, 16, cpu, device_rates.of_images) is None
