"""Every network: equal to a plain one, with the counts that it declares, its members separate, compiled or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.config.experiment import Model
from bench.config.presets import PRESETS
from bench.encoders.encoder import TextPart
from bench.encoders.text import PaddedCaptions
from bench.models import get
from bench.models.architecture import registry
from bench.models.block_options import Options
from bench.models.check_architecture import check
from bench.models.flat import Flat
from bench.models.network import Network
from bench.models.networks.crossdit import CrossDiTBlock
from bench.models.networks.dit import DiT
from bench.models.networks.prx import PRXBlock
from bench.models.shape import Shape
from bench.planning import plan
from bench.training.called_blocks import called
from flowbench._core.errors import UserError

from . import plain_networks
from .plain_networks import Written

SMALL = Shape(3, 32, 2, 4, 16, 3, text_length=5, text_width=24, pooled_width=16, first_text=3)
PLAIN: dict[str, Callable[..., Tensor]] = {
    "dit": plain_networks.dit,
    "mmdit": plain_networks.mmdit,
    "prx": plain_networks.prx,
    "crossdit": plain_networks.crossdit,
    "uvit": plain_networks.uvit,
    "uvit:convs=1": partial(plain_networks.uvit, convs=1),
    "uvit_bao": plain_networks.uvit_bao,
}
SPECS = [
    "dit",
    "dit:qk=none",
    "mmdit",
    "mmdit:sets=3",
    "mmdit:qk=none,sets=3",
    "prx",
    "prx:qk=none",
    "crossdit",
    "crossdit:qk=none",
    "crossdit:adaln=single",
    "uvit",
    "uvit:qk=none",
    "uvit:convs=1",
    "uvit_bao",
    "uvit_bao:qk=none",
]


def built(spec: str, members: int, shape: Shape = SMALL) -> Network:
    """A network whose weights differ between members and are zero nowhere."""
    network = replace(shape, architecture=spec).build(members)
    network.initialise(torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    for p in network.parameters():
        p.data += 0.1 * torch.randn(p.shape, generator=generator)
    return network


def inputs(members: int, batch: int = 3, shape: Shape = SMALL) -> tuple[Tensor, ...]:
    """Early clocks, whose angles float32 resolves."""
    g = torch.Generator().manual_seed(2)
    return (
        torch.randn(members, batch, shape.channels, shape.resolution, shape.resolution, generator=g),
        0.02 * torch.rand(members, batch, generator=g),
        torch.randn(batch, shape.text_length, shape.text_width, generator=g),
        torch.randn(batch, shape.pooled_width, generator=g),
    )


@pytest.mark.parametrize("spec", SPECS)
def test_each_member_is_the_network_that_is_written_down(spec: str) -> None:
    network, (x, clock, *captions) = built(spec, 2), inputs(2)
    flat, plain = Flat(network), PLAIN.get(spec, PLAIN[spec.partition(":")[0]])
    with torch.no_grad():
        found = network(x, clock, *captions)
        for e in range(2):
            written = Written(flat.member(flat.weights[e]), SMALL, rms="qk=none" not in spec)
            expected = plain(written, x[e], clock[e], *captions)
            torch.testing.assert_close(found[e], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("patch", [2, 4])
@pytest.mark.parametrize("spec", SPECS)
def test_counts_are_exact(spec: str, patch: int) -> None:
    shape = replace(SMALL, width=48, heads=3, patch=patch, resolution=4 * patch, architecture=spec)
    network, given = built(spec, 2, shape), inputs(2, shape=shape)
    assert Flat(network).weights.shape == (2, shape.parameters())
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(*given)
    assert counter.get_total_flops() == 2 * shape.flops(3)


@pytest.mark.parametrize("spec", SPECS)
def test_gradients_of_members_are_those_of_separate_networks(spec: str) -> None:
    network, (x, clock, *captions) = built(spec, 2), inputs(2)
    network(x, clock, *captions).square().mean((1, 2, 3, 4)).sum().backward()
    for e in range(2):
        alone = replace(SMALL, architecture=spec).build(1)
        for mine, both in zip(alone.parameters(), network.parameters(), strict=True):
            mine.data = both.data[e : e + 1].clone()
        alone(x[e : e + 1], clock[e : e + 1], *captions).square().mean().backward()
        for mine, both in zip(alone.parameters(), network.parameters(), strict=True):
            assert mine.grad is not None
            assert both.grad is not None
            torch.testing.assert_close(mine.grad[0], both.grad[e], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("spec", ["dit", "mmdit:sets=3"])
@pytest.mark.parametrize("recompute", [False, True])
def test_blocks_that_are_compiled_or_computed_again_give_the_same(
    spec: str, recompute: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced as for a device, and run without a compiler of C++."""
    traced, real = list[nn.Module](), torch.compile

    def trace(block: nn.Module, **options: bool) -> Callable[..., Tensor]:
        traced.append(block)
        return real(block, backend="aot_eager", **options)

    monkeypatch.setattr(torch, "compile", trace)
    network, given = built(spec, 1), inputs(1)
    found = called(network, compiled=not recompute, recompute=recompute)(*given)
    assert len(traced) == (0 if recompute else len(network.blocks))
    torch.testing.assert_close(found, network(*given), rtol=1e-5, atol=1e-6)
    found.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


@pytest.mark.long
@pytest.mark.parametrize("spec", SPECS)
def test_compiled_is_eager(spec: str) -> None:
    network, given = built(spec, 2), inputs(2)
    torch.testing.assert_close(called(network, True, False)(*given), network(*given), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spec", SPECS)
def test_a_fresh_network_outputs_zero_and_passes_the_check(spec: str) -> None:
    network = replace(SMALL, architecture=spec).build(2)
    network.initialise(torch.Generator().manual_seed(0))
    assert not network(*inputs(2)).any()
    assert check(spec)


def test_a_dit_is_an_mmdit_whose_streams_share_their_weights() -> None:
    """By diffusers' class, which has the text's layers twice."""
    diffusers = pytest.importorskip("diffusers", reason="the speed extra is not installed")
    from bench.models.networks.sd3_weights import configuration, converted

    options = Options(gelu="tanh")
    network, (x, clock, tokens, pooled) = built("dit:gelu=tanh", 1), inputs(1)
    assert isinstance(network, DiT)
    flat, weights = Flat(network), dict[str, Tensor]()
    for name, value in flat.member(flat.weights[0]).items():
        first, _, rest = name.partition(".")
        index, _, layer = rest.partition(".")
        if first == "modulation":  # shift, scale and gates of the image, then the same of the text
            *parts, tail = value.split(6 * SMALL.width, dim=-1)
            last = parts.pop()
            twice = [part for each in parts for part in (each, each)]
            value = torch.cat([*twice, last, last[..., : 2 * SMALL.width], tail], dim=-1)
        if first == "blocks":
            weights |= {f"blocks.{index}.{stream}.{layer}": value for stream in ("image", "text")}
        else:
            weights[name] = value
    theirs = diffusers.SD3Transformer2DModel(**configuration(SMALL, options))
    theirs.load_state_dict(converted(weights, network.positions, SMALL))
    with torch.no_grad():
        expected = theirs(x[0], tokens, pooled, 1000 * clock[0], return_dict=False)[0]
        torch.testing.assert_close(network(x, clock, tokens, pooled)[0], expected, rtol=1e-5, atol=1e-5)


def randomised(block: nn.Module) -> dict[str, Tensor]:
    """A block of one member with weights that are zero nowhere, as torch's ``[out, in]`` by name."""
    generator, found = torch.Generator().manual_seed(3), dict[str, Tensor]()
    for name, p in block.named_parameters():
        p.data += 0.3 * torch.randn(p.shape, generator=generator)
        found[name] = p.data[0].T if name.endswith("weight") else p.data[0].flatten()
    return found


def test_a_block_of_the_crossdit_is_that_of_pixart() -> None:
    attention = pytest.importorskip("diffusers.models.attention", reason="the speed extra is not installed")
    block = CrossDiTBlock(1, 32, 2, Options(gelu="tanh", qk="none"))
    own = randomised(block)
    theirs = attention.BasicTransformerBlock(
        32, 2, 16, cross_attention_dim=32, activation_fn="gelu-approximate", attention_bias=True,
        norm_type="ada_norm_single", norm_elementwise_affine=False, norm_eps=1e-6,
    )  # fmt: skip
    state = {"scale_shift_table": torch.zeros(6, 32)}
    for part in ("weight", "bias"):
        q, k, v = own[f"qkv.{part}"].chunk(3)
        key, value = own[f"cross.text.kv.{part}"].chunk(2)
        for name, tensor in (
            ("attn1.to_q", q), ("attn1.to_k", k), ("attn1.to_v", v), ("attn1.to_out.0", own[f"out.{part}"]),
            ("attn2.to_q", own[f"cross.query.{part}"]), ("attn2.to_k", key), ("attn2.to_v", value),
            ("attn2.to_out.0", own[f"cross.out.{part}"]),
            ("ff.net.0.proj", own[f"up.{part}"]), ("ff.net.2", own[f"down.{part}"]),
        ):  # fmt: skip
            state[f"{name}.{part}"] = tensor
    theirs.load_state_dict(state)
    generator = torch.Generator().manual_seed(4)
    x, text, vectors = (torch.randn(3, n, 32, generator=generator, dtype=torch.double) for n in (7, 5, 6))
    block.double(), theirs.double()  # whose rounding is no part of the question
    with torch.no_grad():
        m = tuple(v[None] for v in vectors.split(1, dim=1))
        expected = theirs(x, encoder_hidden_states=text, timestep=vectors.flatten(1))
        torch.testing.assert_close(block(x[None], text[None], m)[0], expected, rtol=1e-5, atol=1e-5)


def test_the_attention_of_prx_is_that_of_diffusers() -> None:
    module = pytest.importorskip("diffusers.models.transformers.transformer_prx")
    block = PRXBlock(1, 32, 2)
    own = randomised(block)
    theirs = module.PRXAttention(32, 2, 16, bias=True, out_bias=True, processor=module.PRXAttnProcessor2_0())
    scales = own["qk_scale"].chunk(2)
    theirs.load_state_dict(
        {f"{name}.{part}": own[f"{mine}.{part}"] for part in ("weight", "bias") for name, mine in (
            ("img_qkv_proj", "qkv"), ("txt_kv_proj", "text.kv"), ("to_out.0", "out")
        )}
        | {"norm_q.weight": scales[0], "norm_k.weight": scales[1], "norm_added_k.weight": own["text.k_scale"]}
    )  # fmt: skip
    generator = torch.Generator().manual_seed(4)
    x, text = (torch.randn(3, n, 32, generator=generator) for n in (7, 5))
    with torch.no_grad():
        expected = x + theirs(
            torch.nn.functional.layer_norm(x, (32,), eps=1e-6),
            encoder_hidden_states=text,
        )
        zero, one = torch.zeros(1, 3, 1, 32), torch.ones(1, 3, 1, 32)
        found = block(x[None], text[None], (zero, zero, one, zero, zero, zero))[0]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_an_unknown_option_is_one_sentence() -> None:
    with pytest.raises(UserError, match="adaln=singel is not known; did you mean 'single'"):
        get("crossdit:adaln=singel")
    with pytest.raises(UserError, match=r"sets=4 is not known; known: 2 \(image, text\), 3"):
        get("mmdit:sets=4")
    with pytest.raises(UserError, match="convs=0 must be greater than 0"):
        get("uvit:convs=0")
    assert {"dit", "prx", "crossdit", "uvit", "uvit_bao"} <= registry.entries.keys()


def test_the_first_text_ends_where_its_encoder_does() -> None:
    parts = TextPart("clip", (0, 3), (0, 24), (0, 16)), TextPart("t5", (3, 5), (0, 24), (16, 16))
    model = Model(depth=2, width=32, heads=2, architecture="mmdit:sets=3")

    def shape(*parts: TextPart) -> Shape:
        captions = PaddedCaptions(torch.zeros(1, 5, 24), torch.zeros(1, 16), {"a": 0}, parts)
        return Shape.of(model, (3, 16, 16), captions)

    assert shape(*parts).first_text == 3
    with pytest.raises(UserError, match="is for two sets of text tokens, and these captions have 1"):
        shape(parts[0])


@pytest.mark.parametrize(
    ("spec", "sizes", "sentence"),
    [
        ("uvit_bao", {"depth": 4}, "needs an odd depth: choose 3 or 5"),
        ("uvit", {"patch": 1}, "halves the resolution once for each factor 2 of the patch: choose 2 or 4"),
        ("uvit", {"patch": 3}, "choose 2 or 4"),
        ("uvit", {"patch": 4, "width": 44}, "the nearest is --width 48"),
    ],
)
def test_a_size_that_a_network_cannot_have_is_refused_at_the_plan(
    spec: str, sizes: dict[str, int], sentence: str, tmp_path: Path
) -> None:
    model = Model(**{"depth": 3, "width": 32, "heads": 1, "patch": 2, "architecture": spec, **sizes})
    grid = replace(PRESETS["smoke"], model=model, images=replace(PRESETS["smoke"].images, resolution=12))
    with pytest.raises(UserError, match=sentence):
        plan.make(grid, tmp_path)
