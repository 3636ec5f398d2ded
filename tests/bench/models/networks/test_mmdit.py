"""MM-DiT: sizes by formula, members as separate models, patches and positions."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.machine.matmul import fast_products
from bench.models.flat import Flat, swapped
from bench.models.networks.embeddings import patchify, positions_2d, time_features, unpatchify
from bench.models.networks.layers import Linear, attention
from bench.models.networks.mmdit import Block, MMDiT
from bench.models.shape import Shape

SMALL = Shape(2, 64, 2, 2, 8, 3, text_length=5, text_width=24, pooled_width=16)
SHAPES = [SMALL, replace(SMALL, depth=3, width=192, heads=3, patch=4), replace(SMALL, depth=1, channels=1)]


def inputs(shape: Shape, members: int, batch: int = 4, seed: int = 0) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(seed)
    return (
        torch.randn(members, batch, shape.channels, shape.resolution, shape.resolution, generator=g),
        torch.rand(members, batch, generator=g),
        torch.randn(batch, shape.text_length, shape.text_width, generator=g),
        torch.randn(batch, shape.pooled_width, generator=g),
    )


def randomise(model: MMDiT, seed: int = 0) -> None:
    """Weights that differ between members and are zero nowhere, so that every path of the model matters."""
    g = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        p.data = p.data + 0.1 * torch.randn(p.shape, generator=g)


@pytest.mark.parametrize("shape", SHAPES)
def test_parameters_by_formula(shape: Shape) -> None:
    assert sum(p.numel() for p in MMDiT(shape, 3).parameters()) == 3 * shape.parameters()


def test_parameters_agree_with_diffusers() -> None:
    diffusers = pytest.importorskip("diffusers", reason="the speed extra is not installed")
    shape = Shape(3, 128, 2, 2, 16, 3, text_length=7, text_width=96, pooled_width=64)
    theirs = diffusers.SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=3,
        out_channels=3,
        num_layers=3,
        attention_head_dim=64,
        num_attention_heads=2,
        joint_attention_dim=96,
        caption_projection_dim=128,
        pooled_projection_dim=64,
        pos_embed_max_size=8,
        qk_norm="rms_norm",
    )
    assert sum(p.numel() for p in theirs.parameters()) == shape.parameters()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("members", [1, 3])
def test_flops_by_formula(shape: Shape, members: int) -> None:
    model = MMDiT(shape, members)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(*inputs(shape, members, batch=4))
    assert counter.get_total_flops() == members * shape.flops(4)


def test_members_do_not_mix() -> None:
    x, clock, tokens, pooled = inputs(SMALL, 3)
    model = MMDiT(SMALL, 3)
    randomise(model)
    together = model(x, clock, tokens, pooled)
    for e in range(3):
        alone = MMDiT(SMALL, 1)
        for mine, theirs in zip(alone.parameters(), model.parameters(), strict=True):
            mine.data = theirs.data[e : e + 1].clone()
        torch.testing.assert_close(alone(x[e : e + 1], clock[e : e + 1], tokens, pooled)[0], together[e])


def test_members_do_not_mix_whatever_multiplies() -> None:
    x, clock, tokens, pooled = inputs(SMALL, 3)
    model, alone = MMDiT(SMALL, 3), MMDiT(SMALL, 1)
    randomise(model)
    usual = model(x, clock, tokens, pooled)
    fast_products(torch.device("cpu"))
    torch.testing.assert_close(model(x, clock, tokens, pooled), usual, rtol=1e-5, atol=1e-5)
    for e in range(3):
        for mine, theirs in zip(alone.parameters(), model.parameters(), strict=True):
            mine.data = theirs.data[e : e + 1].clone()
        single = alone(x[e : e + 1], clock[e : e + 1], tokens, pooled)[0]
        torch.testing.assert_close(single, usual[e], rtol=1e-5, atol=1e-5)


def plain_block(
    block: Block, e: int, image: Tensor, text: Tensor, m: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    """One member's joint block as it is written down: ``[B, N, h]`` and ``[B, M, h]``, modulated by ``12 [B, 1, h]``."""
    heads, width = block.image.heads, image.shape[-1]

    def linear(layer: Linear, x: Tensor) -> Tensor:
        return x @ layer.weight[e] + layer.bias[e, 0]

    def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        mean, variance = x.mean(-1, keepdim=True), x.var(-1, correction=0, keepdim=True)
        return (x - mean) / (variance + 1e-6).sqrt() * (1 + scale) + shift

    def rms(x: Tensor, scale: Tensor) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * scale

    q, k, v = [], [], []
    for stream, x, shift, scale in ((block.image, image, m[0], m[1]), (block.text, text, m[6], m[7])):
        parts = linear(stream.qkv, modulated(x, shift, scale)).chunk(3, dim=-1)
        split = [part.unflatten(-1, (heads, width // heads)) for part in parts]
        q.append(rms(split[0], stream.qk_scale[e, 0, 0, 0, 0]))
        k.append(rms(split[1], stream.qk_scale[e, 0, 0, 1, 0]))
        v.append(split[2])
    queries, keys, values = (torch.cat(parts, dim=1) for parts in (q, k, v))
    scores = torch.einsum("bihd,bjhd->bhij", queries, keys) / math.sqrt(width // heads)
    weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
    attended = torch.einsum("bhij,bjhd->bihd", weights, values).flatten(2)
    count, found = image.shape[1], []
    for stream, x, a, four in (
        (block.image, image, attended[:, :count], m[2:6]),
        (block.text, text, attended[:, count:], m[8:]),
    ):
        if four:
            gate, shift, scale, gate2 = four
            x = x + gate * linear(stream.out, a)
            hidden = linear(stream.up, modulated(x, shift, scale))
            gelu = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
            x = x + gate2 * linear(stream.down, gelu)
        found.append(x)
    return found[0], found[1]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("tokens", "words"), [(16, 5), (100, 28), (100, 29), (144, 5)])
def test_a_block_is_what_is_written_down(
    tokens: int, words: int, last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float64, up to 128 tokens and beyond: exact GELU, and queries and keys that are normalised, then scaled."""
    members, batch, width, heads = 2, 3, 24, 3
    fused: list[None] = []
    real = torch.nn.functional.scaled_dot_product_attention

    def spy(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        fused.append(None)
        return real(q, k, v)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    block, g = Block(members, width, heads, last).double(), torch.Generator().manual_seed(4)

    def normal(*sizes: int) -> Tensor:
        return torch.randn(sizes, generator=g, dtype=torch.float64)

    for p in block.parameters():
        p.data = 0.5 * normal(*p.shape)
    image, text = normal(members, batch, tokens, width), normal(members, batch, words, width)
    m = tuple(normal(members, batch, 1, width) for _ in range(8 if last else 12))
    with torch.no_grad():
        found = block(image, text, m)
        for e in range(members):
            plain = plain_block(block, e, image[e], text[e], tuple(part[e] for part in m))
            for mine, theirs in zip(found, plain, strict=True):
                torch.testing.assert_close(mine[e], theirs, rtol=1e-9, atol=1e-9)
        block.image.qk_scale.mul_(1.01)
        assert (block(image, text, m)[0] - found[0]).abs().max() > 1e-4, (
            "the scale of queries and keys matters"
        )
    assert bool(fused) is (tokens + words > 128)


def test_both_ways_of_attention_are_equal() -> None:
    g = torch.Generator().manual_seed(5)
    q, k, v = (torch.randn(3, 2, 128, 8, generator=g, dtype=torch.float64) for _ in range(3))
    fused = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(attention(q, k, v), fused, rtol=1e-10, atol=1e-12)


def test_every_input_matters() -> None:
    model = MMDiT(SMALL, 1)
    randomise(model)
    given = inputs(SMALL, 1)
    out = model(*given)
    for i in range(4):
        changed = [v.clone() for v in given]
        changed[i] += 0.1
        assert (model(*changed) - out).abs().max() > 1e-4, i


def test_every_parameter_is_used_once_awake() -> None:
    model = MMDiT(SMALL, 2)
    randomise(model)
    model(*inputs(SMALL, 2)).square().sum().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert (p.grad.flatten(1).norm(dim=1) > 0).all(), name


def test_a_fresh_model_outputs_zero_and_members_start_equal() -> None:
    model = MMDiT(SMALL, 2)
    model.initialise(torch.Generator().manual_seed(1))
    assert model(*inputs(SMALL, 2)).abs().max() == 0
    for p in model.parameters():
        assert torch.equal(p[0], p[1])


def test_tokens_are_positioned_but_text_is_not_reordered() -> None:
    table = positions_2d(4, 64)
    assert table.shape == (16, 64)
    assert (torch.pdist(table) > 0.1).all()


def test_patches_round_trip() -> None:
    x = torch.randn(2, 3, 3, 8, 8)
    assert torch.equal(unpatchify(patchify(x, 2), SMALL), x)
    assert torch.equal(patchify(x, 2)[0, 0, 1], x[0, 0, :, 0:2, 2:4].reshape(-1))


def test_time_features_stay_float32_and_separate_near_times() -> None:
    t = torch.tensor([0.9965, 0.9970], dtype=torch.bfloat16).float()
    features = time_features(torch.tensor([0.9965, 0.9970]))
    assert features.dtype == torch.float32
    assert t[0] == t[1], "bfloat16 would have merged these two times"
    assert (features[0] - features[1]).norm() > 0.1


def test_flat_is_the_model() -> None:
    model = MMDiT(SMALL, 2)
    model.initialise(torch.Generator().manual_seed(1))
    flat = Flat(model)
    assert flat.weights.shape == (2, SMALL.parameters())
    assert torch.equal(flat.row(flat.member(flat.weights[1])), flat.weights[1])
    randomised = flat.weights + 0.05 * torch.randn(
        flat.weights.shape, generator=torch.Generator().manual_seed(2)
    )
    given = inputs(SMALL, 2)
    before = model(*given)
    with swapped(flat, randomised):
        inside = model(*given)
    assert not torch.allclose(before, inside)
    assert torch.equal(model(*given), before)
    with swapped(flat, randomised):
        model(*given).square().sum().backward()
        expected = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    collected = flat.collect()
    for view, grad in zip(flat.views(collected), expected, strict=True):
        assert torch.equal(view, grad)
