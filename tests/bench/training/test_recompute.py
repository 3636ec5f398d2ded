"""Activation checkpointing: less is kept, and the same is computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.config.experiment import Grid
from bench.models.architecture import register, registry
from bench.models.shape import Shape
from bench.training.batches import Batches
from bench.training.feed import Feed
from bench.training.trainer import Trainer
from bench.training.tuning import inputs
from bench.worker.setup import Setup
from flowbench._core.errors import UserError
from formulations import get

from ..tables import CPU, RECIPE

NAMES = ("rf/lognorm(0,1)", "eps/linear", "edm(-1.2,1.2)")
DEEP = Shape(4, 32, 2, 4, 16, 3, text_length=6, text_width=16, pooled_width=8)


def trained(
    setup: Setup, grid: Grid, recompute: bool, compiled: bool = False, accumulate: int = 1
) -> Trainer:
    recipe = replace(grid.training, steps=12)
    shape = setup.shape(replace(grid.model, depth=3))
    batches = Batches(setup.data, setup.captions, 0, recipe.batch, recipe.dropout, CPU)
    trainer = Trainer(shape, 3, recipe, CPU, compiled=compiled, accumulate=accumulate, recompute=recompute)
    feed = Feed([get(name) for name in NAMES], batches, recipe.steps)
    for step in range(recipe.steps):
        trainer.step(step, *feed.at(step))
    return trainer


@contextmanager
def kept() -> Iterator[list[int]]:
    """The sizes of all tensors that a forward pass keeps for the backward one."""
    found: dict[int, int] = {}
    sizes: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        found[tensor.untyped_storage().data_ptr()] = (
            tensor.untyped_storage().nbytes() // tensor.element_size()
        )
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield sizes
    sizes += found.values()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_gradients_and_weights_are_the_same(setup: Setup, grid: Grid, accumulate: int) -> None:
    usual, other = (trained(setup, grid, recompute, accumulate=accumulate) for recompute in (False, True))
    torch.testing.assert_close(other.flat.grads, usual.flat.grads, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(other.flat.weights, usual.flat.weights, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(other.ema, usual.ema, rtol=1e-6, atol=1e-7)


def test_blocks_are_computed_again_also_compiled(
    setup: Setup, grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    usual, other = trained(setup, grid, False), trained(setup, grid, True, compiled=True)
    torch.testing.assert_close(other.flat.weights, usual.flat.weights, rtol=1e-5, atol=1e-6)
    assert other.network is not other.model


def test_only_what_goes_into_a_block_is_kept() -> None:
    """As the network declares, which adds one block: the one that the backward pass computes again."""
    found = {}
    batch, c = inputs(DEEP, 2, RECIPE.batch, CPU)
    for recompute in (False, True):
        trainer = Trainer(DEEP, 2, RECIPE, CPU, recompute=recompute)
        with kept() as sizes:
            trainer.objective.loss(trainer.predict, batch, c, trainer.facts(0)).sum()
        found[recompute] = sum(sizes) - trainer.flat.weights.numel()
    usual, less = (2 * RECIPE.batch * DEEP.activations(again) for again in (False, True))
    saved = usual - (less - usual / DEEP.depth)
    assert found[False] - found[True] == pytest.approx(saved, rel=0.05)


def test_it_takes_less_memory_by_formula() -> None:
    for depth in (1, 2, 24):
        shape = replace(DEEP, depth=depth)
        usual, less = (shape.training_bytes(8, 2, again) for again in (False, True))
        assert less < usual or depth == 1
        assert less >= shape.parameter_bytes(2) + 4 * 8 * shape.activations() / depth


def test_a_network_without_blocks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.models.plain import Plain

    monkeypatch.setattr(registry, "entries", dict(registry.entries))
    register("whole")(lambda: Plain(lambda shape: torch.nn.Linear(1, 1)))
    with pytest.raises(UserError, match="--recompute blocks: the network whole declares no blocks"):
        replace(DEEP, architecture="whole").activations(recompute=True)


def test_it_costs_one_more_forward_pass() -> None:
    """Of three with the backward pass, but for what is outside of blocks."""
    batch, c = inputs(DEEP, 1, 4, CPU)
    counts = []
    for recompute in (False, True):
        trainer = Trainer(DEEP, 1, RECIPE, CPU, recompute=recompute)
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            trainer.step(0, batch, c)
        counts.append(counter.get_total_flops())
    assert counts[0] < 3 * DEEP.flops(4), "the first layers need no gradients of their inputs"
    assert 0.9 * DEEP.flops(4) < counts[1] - counts[0] < DEEP.flops(4)
