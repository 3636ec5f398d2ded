"""Inputs that are distributions: drawn by the step's seed alone, wherever means and deviations lie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.config.experiment import Grid
from bench.config.seeds import seed_for
from bench.data import Split, build
from bench.training.batches import Batches
from bench.training.feed import Feed
from bench.training.replicas import ALONE, Replicas
from bench.worker.setup import Setup
from flowbench._core.errors import UserError
from formulations import get

from .test_train import run

CPU = torch.device("cpu")


def wide(setup: Setup, deviation: float = 30.0) -> Setup:
    """The images as distributions around their pixels."""
    data = setup.data
    splits = [
        replace(s, values=s.reference, scale=Split(s.reference, ()).scale)
        for s in (data.train, data.validation)
    ]
    around = np.full(data.train.reference.shape, deviation, np.float16)
    around[1::2] /= 2
    made = build("wide", (replace(splits[0], deviations=around), splits[1]), decoder=lambda values: values)
    return replace(setup, data=made)


def batches(setup: Setup, replicas: Replicas = ALONE) -> Batches:
    return Batches(setup.data, setup.captions, 4, 8, 0.1, CPU, replicas=replicas)


def test_a_step_draws_around_the_mean_by_its_seed(setup: Setup) -> None:
    around = wide(setup)
    made, split = batches(around), around.data.train
    scale, deviations = split.scale, np.asarray(split.deviations)
    for step in (0, 7, 0):
        rows, x = made.order(step), made.at(step).x
        eps = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed_for("posterior", 4, step)))
        values = torch.from_numpy(split.reference[rows]) + torch.from_numpy(deviations[rows]).float() * eps
        torch.testing.assert_close(x, (values - scale.mean) / scale.std, rtol=1e-4, atol=1e-5)


def test_other_draws_are_as_without(setup: Setup) -> None:
    plain, around = batches(setup), batches(wide(setup))
    for a, b in zip(plain.at(3)[1:], around.at(3)[1:], strict=True):
        assert torch.equal(a, b)
    assert torch.equal(plain.u(3), around.u(3))


def test_drawn_inputs_have_no_mean_and_unit_deviation(setup: Setup) -> None:
    made = batches(wide(setup, 60.0))
    x = torch.cat([made.at(step).x for step in range(200)])
    assert float(x.mean()) == pytest.approx(0, abs=0.02)
    assert float(x.std()) == pytest.approx(1, abs=0.02)


def test_where_means_and_deviations_lie_does_not_matter(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    around = wide(setup)
    kept = batches(around)
    assert kept.step_bytes == 2 * batches(setup).step_bytes
    monkeypatch.setattr("bench.machine.resident.RESIDENT", around.data.train.reference.size * 8 - 1)
    streamed = batches(around)
    assert kept.inputs.kept is not None
    assert streamed.inputs.kept is None
    drawn = streamed.draw(range(6))
    for step in range(6):
        for made in (streamed.at(step), streamed.look_up(drawn, step)):
            assert torch.equal(made.x, kept.at(step).x)


def test_replicas_draw_parts_of_one_batch(setup: Setup) -> None:
    around = wide(setup)
    whole, parts = batches(around), [batches(around, Replicas(rank, 2)) for rank in range(2)]
    assert torch.equal(torch.cat([part.at(5).x for part in parts]), whole.at(5).x)


def test_a_feed_that_begins_later_draws_the_same(setup: Setup) -> None:
    around = wide(setup)
    feeds = [Feed([get("rf")], batches(around), 100) for _ in range(2)]
    found = [
        [feed.at(step)[0].x for step in steps]
        for feed, steps in zip(feeds, (range(80), range(70, 80)), strict=True)
    ]
    for a, b in zip(found[0][70:], found[1], strict=True):
        assert torch.equal(a, b)


def test_training_depends_on_deviations_and_the_held_out_side_has_none(setup: Setup, grid: Grid) -> None:
    narrow, around = run(wide(setup, 1.0), grid)[0], run(wide(setup, 60.0), grid)[0]
    assert not torch.equal(narrow.best.ema, around.best.ema)
    assert wide(setup).data.validation.deviations is None


@pytest.mark.parametrize(("side", "count"), [("train", -1), ("validation", None)])
def test_deviations_that_would_not_be_drawn_are_refused(setup: Setup, side: str, count: int | None) -> None:
    data = wide(setup).data
    around = np.ones(getattr(data, side).reference.shape)[:count]
    splits = {"train": data.train, "validation": data.validation}
    splits[side] = replace(splits[side], deviations=around)
    with pytest.raises(UserError, match="deviations belong to training values"):
        build("wide", (splits["train"], splits["validation"]), decoder=data.decoder)


def test_deviations_belong_to_the_content(setup: Setup) -> None:
    assert wide(setup, 1.0).data.digest != wide(setup, 2.0).data.digest
