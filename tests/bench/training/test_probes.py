"""The probes of attention: the numbers themselves, what normalised queries and keys do to them, and that training does not
know of them."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.config.experiment import Grid
from bench.driver.checks import check_probes
from bench.models.networks import attention_probe, transformer
from bench.models.networks.attention_probe import WATCHING
from bench.models.shape import Shape
from bench.runfolder.submission import Execution
from bench.training.batches import Batches, validation_batch
from bench.training.coefficients import validation_coefficients
from bench.training.probes import probed
from bench.training.train import Trained, train
from bench.training.tuning import inputs
from bench.worker.setup import Setup
from flowbench._core.errors import UserError
from formulations import get

from ..tables import CPU

SHAPE = Shape(3, 32, 2, 4, 16, 3, text_length=5, text_width=16, pooled_width=8)
WIDTH = 16
NAMES = ("rf", "eps/linear")


def network(model: str = "mmdit", scale: float = 1.0) -> transformer.Transformer:
    """Two members with modulation, the second with other weights; weights of queries and keys times ``scale``."""
    built = replace(SHAPE, architecture=model).build(2)
    built.initialise(torch.Generator().manual_seed(0))
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in built.named_parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=draw))
            if "qkv" in name:
                p[..., : 2 * SHAPE.width].mul_(scale)
    assert isinstance(built, transformer.Transformer)
    return built


def probe(model: transformer.Transformer) -> Tensor:
    batch, c = inputs(SHAPE, 2, 6, CPU)
    x = batch.x.expand(2, *batch.x.shape)
    with torch.no_grad():
        return model.probe(x, c.c_noise, batch.tokens, batch.pooled)


@pytest.mark.parametrize("model", ["mmdit", "dit", "crossdit", "prx"])
def test_they_are_what_attention_computes(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the definition, pair by pair, on the queries and keys with which the network attends."""
    attended: list[tuple[Tensor, Tensor]] = []
    built = network(model)
    monkeypatch.setattr("bench.models.networks.layers.WATCHING", [lambda q, k: attended.append((q, k))])
    batch, c = inputs(SHAPE, 2, 6, CPU)
    with torch.no_grad():
        built(batch.x.expand(2, *batch.x.shape), c.c_noise, batch.tokens, batch.pooled)
    monkeypatch.undo()
    found = probe(built)
    assert found.shape == (2, 3, 2)
    assert not WATCHING
    each = len(attended) // 3
    assert each == (2 if model == "crossdit" else 1)
    for block in range(3):
        expected = torch.stack([by_pairs(q, k) for q, k in attended[block * each : (block + 1) * each]])
        torch.testing.assert_close(
            found[:, block, 0].double(), expected[..., 0].amax(0), rtol=1e-5, atol=1e-5
        )
        torch.testing.assert_close(
            found[:, block, 1].double(), expected[..., 1].mean(0), rtol=1e-5, atol=1e-5
        )


def by_pairs(q: Tensor, k: Tensor) -> Tensor:
    """Largest logit and mean entropy of two members, in float64."""
    q, k = (part.double().unflatten(0, (2, -1)) for part in (q, k))
    products = [(q * k[..., j : j + 1, :]).sum(-1) for j in range(k.shape[-2])]
    logits = torch.stack(products, -1) / math.sqrt(WIDTH)
    weights = logits.exp() / logits.exp().sum(-1, keepdim=True)
    entropy = -(weights * weights.log()).sum(-1)
    return torch.stack([logits.flatten(1).amax(1), entropy.flatten(1).mean(1)], -1)


def test_even_and_sharp_attention() -> None:
    same = torch.ones(2, 1, 7, 4)
    logit, entropy = attention_probe.probe(same, same, 1)[0].tolist()
    assert (logit, entropy) == (pytest.approx(2), pytest.approx(math.log(7)))
    each = 100 * torch.eye(4).expand(3, 2, 4, 4)
    logit, entropy = attention_probe.probe(each, each, 3)[0].tolist()
    assert (logit, entropy) == (pytest.approx(5000), pytest.approx(0, abs=1e-6))


def test_parts_are_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k = torch.randn(2, 6, 2, 5, 8, generator=torch.Generator().manual_seed(0))
    whole = attention_probe.probe(q, k, 2)
    monkeypatch.setattr(attention_probe, "PROBED", 1)
    torch.testing.assert_close(attention_probe.probe(q, k, 2), whole)


def test_normalised_queries_and_keys_bound_the_logits() -> None:
    """As in figure 5: without them growing weights make logits grow and entropy fall, with them they do nothing."""
    rms, large_rms = probe(network()), probe(network(scale=30))
    plain, large_plain = probe(network("mmdit:qk=none")), probe(network("mmdit:qk=none", scale=30))
    assert rms[..., 0].max() < 2 * math.sqrt(WIDTH), "the root of the width times both learned scales"
    torch.testing.assert_close(large_rms, rms, rtol=1e-3, atol=1e-3)
    assert (large_plain[..., 0] > 100 * plain[..., 0]).all()
    assert (large_plain[..., 1] < 0.5 * plain[..., 1]).all()
    assert large_plain[..., 0].min() > 10 * rms[..., 0].max()


def trained(setup: Setup, grid: Grid, probes: bool) -> tuple[Trained, list[list[dict[str, Any]]]]:
    recipe = replace(grid.training, steps=6, validations=2)
    batches = Batches(setup.data, setup.captions, 0, recipe.batch, recipe.dropout, CPU)
    held = validation_batch(setup.data, setup.captions, recipe.validation_images, CPU)
    lines: list[list[dict[str, Any]]] = [[], []]

    def record(member: int, so_far: list[dict[str, Any]]) -> None:
        lines[member] = list(so_far)

    shape = setup.shape(replace(grid.model, depth=2))
    return train([get(n) for n in NAMES], shape, recipe, batches, held, 0, record, probes=probes), lines


def test_validations_have_them_and_nothing_else_changes(setup: Setup, grid: Grid) -> None:
    (one, lines), (other, seen) = (trained(setup, grid, probes) for probes in (False, True))
    assert torch.equal(one.best.raw, other.best.raw)
    assert torch.equal(one.flat.weights, other.flat.weights)
    for plain, more in zip(chain(*lines), chain(*seen), strict=True):
        added = {name: value for name, value in more.items() if name not in plain}
        assert {name: len(value) for name, value in added.items()} == {
            "attention_logit": 2,
            "attention_entropy": 2,
        }
        assert plain["val_common"] == more["val_common"]


def test_of_a_diverged_member_they_are_absent(setup: Setup, grid: Grid) -> None:
    batch, levels = validation_batch(setup.data, setup.captions, 16, CPU)
    model = setup.shape(grid.model).build(2)
    model.initialise(torch.Generator().manual_seed(0))
    with torch.no_grad():
        for p in model.parameters():
            p[1] = float("nan")
    c = validation_coefficients([get(n) for n in NAMES], levels, CPU)
    one, other = probed(model, batch, c, "float32")
    assert None not in one["attention_logit"] + one["attention_entropy"]
    assert other == {"attention_logit": [None], "attention_entropy": [None]}


def test_a_network_without_them_is_refused(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    check_probes(grid, Execution(probes=True))
    monkeypatch.setattr("bench.models.transformer_size.Transformers.probed", False)
    monkeypatch.setattr("bench.models.uvit_sizes.UViTs.probed", True)
    check_probes(grid, Execution())
    for several in ((), ("mmdit",), ("uvit", "mmdit")):
        with pytest.raises(UserError, match="--probes: the network mmdit declares no attention"):
            check_probes(replace(grid, networks=several), Execution(probes=True))
