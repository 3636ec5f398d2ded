"""What the networks of this room are made of: layers with a leading member axis, and the ends that all networks share.

Every parameter carries the member axis first, so a linear layer is a batched matrix product, and attention, which has no
weights, folds members into the batch. With one member this is the ordinary network. Patches, positions, and the treatment of
time and captions are those of arXiv 2403.03206, section 4, for every network, so that a difference between two is one of
their blocks.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.models.attention_probe import WATCHING, watched
from bench.models.block_options import OPTIONS, Options
from bench.models.network import Network
from bench.models.shape import Shape

FREQUENCIES = 128
"""Sinusoids of the time embedding; sine and cosine make 256 channels."""


class Linear(nn.Module):
    """``y[e] = x[e] W[e] + b[e]`` for members ``e``: ``[E, N, in] -> [E, N, out]``."""

    def __init__(self, members: int, width_in: int, width_out: int, zero: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(members, width_in, width_out))
        self.bias = nn.Parameter(torch.zeros(members, 1, width_out))
        self.zero = zero

    def forward(self, x: Tensor) -> Tensor:
        if len(self.weight) == 1:  # the ordinary product is faster than a batch of one
            x, weight, bias = x.squeeze(0), self.weight.squeeze(0), self.bias.squeeze(0)
            return torch.addmm(bias, x, weight).unsqueeze(0)
        return torch.baddbmm(self.bias, x, self.weight)

    def initialise(self, generator: torch.Generator) -> None:
        """Xavier-uniform weights, the same for every member, unless the layer starts at zero."""
        if not self.zero:
            width_in, width_out = self.weight.shape[1:]
            bound = math.sqrt(6 / (width_in + width_out))
            draw = torch.rand(width_in, width_out, generator=generator, device="cpu") * 2 - 1
            self.weight.copy_(bound * draw)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Layer norm without parameters, then ``x (1 + scale) + shift``; x ``[E, B, N, h]``, the others ``[E, B, 1, h]``."""
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=1e-6), 1 + scale)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """``softmax(q k^T / sqrt(D)) v`` over ``[N, heads, S, D]``.

    On a CPU and for short sequences plain products take half the time of the fused kernel.
    """
    for watch in WATCHING:
        watch(q, k)
    if q.device.type != "cpu" or q.shape[2] > 128:
        return F.scaled_dot_product_attention(q, k, v)
    heads = q.shape[1]
    q, k, v = (part.flatten(0, 1) for part in (q * q.shape[-1] ** -0.5, k, v))
    weights = torch.softmax(torch.bmm(q, k.mT), dim=-1)
    attended: Tensor = torch.bmm(weights, v).unflatten(0, (-1, heads))
    return attended


def normalised(x: Tensor, scale: Tensor | None) -> Tensor:
    """Queries or keys ``[..., D]`` RMS-normalised per head and scaled; as they are without a scale."""
    return x if scale is None else F.rms_norm(x, x.shape[-1:], eps=1e-6) * scale


def heads_first(x: Tensor) -> Tensor:
    """``[E, B, N, k, heads, D]`` as ``[k, E B, heads, N, D]``."""
    return x.permute(3, 0, 1, 4, 2, 5).flatten(1, 2)


def heads_last(attended: Tensor, members: int) -> Tensor:
    """``[E B, heads, N, D]`` as ``[E, B N, heads D]``."""
    return attended.transpose(1, 2).reshape(members, -1, attended.shape[1] * attended.shape[3])


class Stream(nn.Module):
    """The linear layers and norms that tokens pass in a block, before and after its attention.

    The text stream of the last block only supplies keys and values (``last``): its output is not used.
    """

    def __init__(
        self, members: int, width: int, heads: int, last: bool = False, options: Options = OPTIONS
    ) -> None:
        super().__init__()
        self.heads, self.last = heads, last
        self.gelu = "tanh" if options.gelu == "tanh" else "none"
        self.qkv = Linear(members, width, 3 * width)
        scales = nn.Parameter(torch.ones(members, 1, 1, 2, 1, width // heads))
        self.qk_scale = scales if options.qk == "rms" else None
        if not last:
            self.out = Linear(members, width, width)
            self.up = Linear(members, width, 4 * width)
            self.down = Linear(members, 4 * width, width)

    def project(self, x: Tensor, shift: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Queries with keys ``[E, B, N, 2, heads, D]``, RMS-normalised and scaled if they are to be, and values
        ``[E, B, N, 1, heads, D]``."""
        qkv = self.qkv(modulate(x, shift, scale).flatten(1, 2))
        qk, v = qkv.view(*x.shape[:3], 3, self.heads, -1).split([2, 1], dim=3)
        return normalised(qk, self.qk_scale), v

    def finish(
        self, x: Tensor, attended: Tensor, gate: Tensor, shift: Tensor, scale: Tensor, gate2: Tensor
    ) -> Tensor:
        """Attention's output and the MLP, each added through its gate."""
        return self.mlp(self.add(x, attended, gate), shift, scale, gate2)

    def add(self, x: Tensor, attended: Tensor, gate: Tensor) -> Tensor:
        """``x`` and attention's output through its gate."""
        return torch.addcmul(x, gate, self.out(attended).view_as(x))

    def mlp(self, x: Tensor, shift: Tensor, scale: Tensor, gate: Tensor) -> Tensor:
        """``x`` and the MLP of it through its gate."""
        hidden = F.gelu(self.up(modulate(x, shift, scale).flatten(1, 2)), approximate=self.gelu)
        return torch.addcmul(x, gate, self.down(hidden).view_as(x))


class TextKeys(nn.Module):
    """Keys and values ``[E B, heads, M, D]`` of text tokens ``[E, B, M, h]`` that are not updated."""

    def __init__(self, members: int, width: int, heads: int, options: Options) -> None:
        super().__init__()
        self.heads = heads
        self.kv = Linear(members, width, 2 * width)
        scale = nn.Parameter(torch.ones(members, 1, 1, 1, 1, width // heads))
        self.k_scale = scale if options.qk == "rms" else None

    def forward(self, text: Tensor) -> tuple[Tensor, Tensor]:
        k, v = self.kv(text.flatten(1, 2)).view(*text.shape[:3], 2, self.heads, -1).split(1, dim=3)
        return heads_first(normalised(k, self.k_scale)).squeeze(0), heads_first(v).squeeze(0)


class Transformer(Network):
    """``members`` transformers of one ``shape``, modulated by time and pooled text (adaLN-Zero).

    ``forward(x, clock, tokens, pooled)``:

    * ``x`` ``[E, B, C, H, W]``: the scaled noisy images ``c_in x_t``;
    * ``clock`` ``[E, B]``: the formulation's ``c_noise``;
    * ``tokens`` ``[B, L, text width]`` and ``pooled`` ``[B, pooled width]``: the captions, shared by the members.

    * ``blocks``: to be called instead of the network's own: the same, compiled.

    Returns the network output ``[E, B, C, H, W]``.
    """

    def __init__(self, shape: Shape, members: int, blocks: Iterable[nn.Module], vectors: int) -> None:
        super().__init__()
        self.shape, self.members = shape, members
        h = shape.width
        self.patch = Linear(members, shape.patch_width, h)
        self.text = Linear(members, shape.text_width, h)
        self.time_in, self.time_out = Linear(members, 2 * FREQUENCIES, h), Linear(members, h, h)
        self.pooled_in, self.pooled_out = Linear(members, shape.pooled_width, h), Linear(members, h, h)
        self.blocks = nn.ModuleList(blocks)
        self.modulation = Linear(members, h, vectors * h, zero=True)
        self.head = Linear(members, h, shape.patch_width, zero=True)
        self.register_buffer("positions", positions_2d(shape.side, h), persistent=False)

    def forward(
        self,
        x: Tensor,
        clock: Tensor,
        tokens: Tensor,
        pooled: Tensor,
        blocks: Iterable[Callable[..., Any]] | None = None,
    ) -> Tensor:
        members, batch = clock.shape
        image = (
            self.patch(patchify(x, self.shape.patch).flatten(1, 2)).unflatten(1, (batch, -1)) + self.positions
        )
        text = self.text(tokens.flatten(0, 1).expand(members, -1, -1)).unflatten(1, (batch, -1))
        vectors = self.vectors(self.condition(clock, pooled))
        image = self.through(image, text, vectors[:-2], blocks or self.blocks)
        image = modulate(image, *vectors[-2:])
        return unpatchify(self.head(image.flatten(1, 2)).unflatten(1, (batch, -1)), self.shape)

    @abstractmethod
    def through(
        self, image: Tensor, text: Tensor, vectors: tuple[Tensor, ...], blocks: Iterable[Callable[..., Any]]
    ) -> Tensor:
        """Image tokens ``[E, B, N, h]`` after the blocks, from image and text tokens ``[E, B, M, h]`` and adaLN's vectors
        ``[E, B, 1, h]``."""

    def probe(self, x: Tensor, clock: Tensor, tokens: Tensor, pooled: Tensor) -> Tensor:
        """See :meth:`Network.probe`; of a block with two attentions the largest logit, and the mean of their entropies."""
        found: list[Tensor] = []

        def seen(block: Callable[..., Any], *given: Any) -> Any:
            with watched(self.members) as each:
                out = block(*given)
            logits, entropies = torch.stack(each).unbind(-1)
            found.append(torch.stack([logits.amax(0), entropies.mean(0)], dim=-1))
            return out

        self(x, clock, tokens, pooled, [partial(seen, block) for block in self.blocks])
        return torch.stack(found, dim=1)

    def condition(self, clock: Tensor, pooled: Tensor) -> Tensor:
        """The vector ``[E, B, h]`` that modulates the blocks: time and pooled text, each through a small MLP."""
        time: Tensor = self.time_out(F.silu(self.time_in(time_features(clock))))
        text: Tensor = self.pooled_out(F.silu(self.pooled_in(pooled.expand(self.members, -1, -1))))
        return time + text

    def vectors(self, condition: Tensor) -> tuple[Tensor, ...]:
        """adaLN's vectors ``[E, B, 1, h]`` of every block, and a shift and a scale of the output."""
        made: tuple[Tensor, ...] = self.modulation(F.silu(condition)).unsqueeze(2).split(self.shape.width, -1)
        return made

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """The same start for every member: Xavier-uniform weights, zero biases, zero modulation and head (adaLN-Zero).

        All formulations of one seed begin here, so that a difference between them is not a difference of luck.
        """
        for layer in self.modules():
            if isinstance(layer, Linear):
                layer.initialise(generator)


def time_features(clock: Tensor) -> Tensor:
    """Sines and cosines ``[..., 256]`` of ``1000 c_noise w``, ``w`` from 1 to 1/10,000 in equal ratios, in float32."""
    ratios = torch.arange(FREQUENCIES, device=clock.device, dtype=torch.float32) / FREQUENCIES
    angles = 1000 * clock.float()[..., None] * torch.exp(-math.log(10_000) * ratios)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def positions_2d(side: int, width: int) -> Tensor:
    """Sinusoidal positions ``[side * side, width]``: half the channels for the row, half for the column."""
    quarter = width // 4
    w = torch.exp(-math.log(10_000) * torch.arange(quarter, dtype=torch.float64) / quarter)
    angles = torch.arange(side, dtype=torch.float64)[:, None] * w
    axis = torch.cat([angles.sin(), angles.cos()], dim=-1)
    rows, columns = axis[:, None].expand(-1, side, -1), axis[None].expand(side, -1, -1)
    return torch.cat([rows, columns], dim=-1).reshape(side * side, width).float()


def patchify(x: Tensor, p: int) -> Tensor:
    """``[E, B, C, H, W] -> [E, B, N, C p p]``."""
    e, b, c, height, width = x.shape
    x = x.view(e, b, c, height // p, p, width // p, p)
    return x.permute(0, 1, 3, 5, 2, 4, 6).reshape(e, b, (height // p) * (width // p), c * p * p)


def unpatchify(x: Tensor, shape: Shape) -> Tensor:
    """``[E, B, N, C p p] -> [E, B, C, H, W]``."""
    e, b = x.shape[:2]
    n, c, p = shape.side, shape.channels, shape.patch
    return x.view(e, b, n, n, c, p, p).permute(0, 1, 4, 2, 5, 3, 6).reshape(e, b, c, n * p, n * p)
