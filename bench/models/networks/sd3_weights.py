"""An MM-DiT's weights under the names of diffusers' ``SD3Transformer2DModel``, which is the same network with a tanh GELU.

Linear layers are transposed, patches have their channels last at the output, and adaLN's shifts and scales stand in the
order of diffusers, whose time is ``1000 c_noise``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from bench.models.block_options import Options
from bench.models.shape import Shape

STREAMS = {
    "image": ("attn.to_{}", "attn.to_out.0", "ff", "norm1", "attn.norm_{}"),
    "text": ("attn.add_{}_proj", "attn.to_add_out", "ff_context", "norm1_context", "attn.norm_added_{}"),
}
"""diffusers' names of a stream's projections, output, MLP, modulation and norms."""


def configuration(shape: Shape, options: Options) -> dict[str, Any]:
    """The arguments of ``SD3Transformer2DModel``."""
    return {
        "sample_size": shape.resolution,
        "patch_size": shape.patch,
        "in_channels": shape.channels,
        "out_channels": shape.channels,
        "num_layers": shape.depth,
        "attention_head_dim": shape.width // shape.heads,
        "num_attention_heads": shape.heads,
        "joint_attention_dim": shape.text_width,
        "caption_projection_dim": shape.width,
        "pooled_projection_dim": shape.pooled_width,
        "pos_embed_max_size": shape.side,
        "qk_norm": "rms_norm" if options.qk == "rms" else None,
    }


def converted(weights: Mapping[str, Tensor], positions: Tensor, shape: Shape) -> dict[str, Tensor]:
    """Named parameters of one member and its ``positions [N, h]`` as a state of ``SD3Transformer2DModel``."""
    c, p, h = shape.channels, shape.patch, shape.width
    kernel = weights["patch.weight"].T.reshape(h, c, p, p)
    head, bias = weights["head.weight"].T.reshape(c, p, p, h), weights["head.bias"].reshape(c, p, p)
    found = {
        "pos_embed.pos_embed": positions[None],
        "pos_embed.proj.weight": kernel,
        "pos_embed.proj.bias": weights["patch.bias"].flatten(),
        "proj_out.weight": head.permute(1, 2, 0, 3).reshape(-1, h),
        "proj_out.bias": bias.permute(1, 2, 0).flatten(),
    }
    for ours, theirs in (
        ("text", "context_embedder"),
        ("time_in", "time_text_embed.timestep_embedder.linear_1"),
        ("time_out", "time_text_embed.timestep_embedder.linear_2"),
        ("pooled_in", "time_text_embed.text_embedder.linear_1"),
        ("pooled_out", "time_text_embed.text_embedder.linear_2"),
    ):
        found |= linear(theirs, weights[f"{ours}.weight"], weights[f"{ours}.bias"])
    vectors = (
        weights["modulation.weight"].unflatten(1, (-1, h)),
        weights["modulation.bias"].unflatten(1, (-1, h)),
    )
    for i in range(shape.depth):
        for at, name in enumerate(STREAMS):
            short = name == "text" and i == shape.depth - 1
            first = 12 * i + 6 * at
            order = [first + 1, first] if short else list(range(first, first + 6))
            prefix = f"transformer_blocks.{i}."
            found |= chosen(f"{prefix}{STREAMS[name][3]}.linear", vectors, order)
            found |= {prefix + key: value for key, value in stream(weights, i, name, short)}
    last = vectors[0].shape[1]
    return found | chosen("norm_out.linear", vectors, [last - 1, last - 2])


def linear(name: str, weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    """A layer ``[in, out]`` as torch's ``[out, in]``."""
    return {f"{name}.weight": weight.T, f"{name}.bias": bias.flatten()}


def chosen(name: str, vectors: tuple[Tensor, Tensor], order: list[int]) -> dict[str, Tensor]:
    """The layer that supplies some of adaLN's vectors, in an order."""
    weight, bias = (part[:, order].flatten(1) for part in vectors)
    return linear(name, weight, bias)


def stream(weights: Mapping[str, Tensor], block: int, name: str, short: bool) -> Iterator[tuple[str, Tensor]]:
    """The layers of one stream of a block; a ``short`` one ends with its keys and values."""
    project, out, mlp, _, norm = STREAMS[name]
    ours = f"blocks.{block}.{name}."
    qkv = zip(
        "qkv", weights[f"{ours}qkv.weight"].chunk(3, 1), weights[f"{ours}qkv.bias"].chunk(3, 1), strict=True
    )
    for letter, weight, bias in qkv:
        yield from linear(project.format(letter), weight, bias).items()
    if (scales := weights.get(f"{ours}qk_scale")) is not None:
        for letter, scale in zip("qk", scales.reshape(2, -1), strict=True):
            yield f"{norm.format(letter)}.weight", scale
    if not short:
        for layer, theirs in (("out", out), ("up", f"{mlp}.net.0.proj"), ("down", f"{mlp}.net.2")):
            yield from linear(
                theirs, weights[f"{ours}{layer}.weight"], weights[f"{ours}{layer}.bias"]
            ).items()
