"""Transformers: what tokens pass in a block, and the ends that all networks share.

Positions, and the way in which time and captions are read, are those of arXiv 2403.03206, section 4, for every network, and
so are patches and the modulated output but in the two U-ViTs: other networks differ in their blocks alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.models.block_options import OPTIONS, Options
from bench.models.network import Network
from bench.models.networks.attention_probe import watched
from bench.models.networks.embeddings import FREQUENCIES, patchify, positions_2d, time_features, unpatchify
from bench.models.networks.layers import Layer, Linear, heads_first, modulate, normalised
from bench.models.shape import Shape


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

    def per_head(self, x: Tensor, shift: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values ``[E B, heads, N, D]`` as :meth:`project` gives them."""
        qk, v = self.project(x, shift, scale)
        q, k = heads_first(qk).unbind(0)
        return q, k, heads_first(v).squeeze(0)

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


class Conditioned(Network):
    """``members`` networks of one ``shape`` that read time and captions as all here do; ``enter`` reads the image.

    ``forward(x, clock, tokens, pooled)``:

    * ``x`` ``[E, B, C, H, W]``: the scaled noisy images ``c_in x_t``;
    * ``clock`` ``[E, B]``: the formulation's ``c_noise``;
    * ``tokens`` ``[B, L, text width]`` and ``pooled`` ``[B, pooled width]``: the captions, shared by the members.

    * ``blocks``: to be called instead of the network's own: the same, compiled.

    Returns the network output ``[E, B, C, H, W]``.
    """

    positions: Tensor

    def __init__(self, shape: Shape, members: int, enter: Layer) -> None:
        super().__init__()
        self.shape, self.members = shape, members
        h = shape.width
        self.patch = enter
        self.text = Linear(members, shape.text_width, h)
        self.time_in, self.time_out = Linear(members, 2 * FREQUENCIES, h), Linear(members, h, h)
        self.pooled_in, self.pooled_out = Linear(members, shape.pooled_width, h), Linear(members, h, h)
        self.register_buffer("positions", positions_2d(shape.side, h), persistent=False)

    def read(self, tokens: Tensor) -> Tensor:
        """The text tokens ``[E, B, M, h]``."""
        flat = tokens.flatten(0, 1).expand(self.members, -1, -1)
        text: Tensor = self.text(flat).unflatten(1, (len(tokens), -1))
        return text

    def condition(self, clock: Tensor, pooled: Tensor) -> Tensor:
        """The vector ``[E, B, h]`` of time and pooled text, each through a small MLP."""
        time: Tensor = self.time_out(F.silu(self.time_in(time_features(clock))))
        text: Tensor = self.pooled_out(F.silu(self.pooled_in(pooled.expand(self.members, -1, -1))))
        return time + text

    def probe(self, x: Tensor, clock: Tensor, tokens: Tensor, pooled: Tensor) -> Tensor:
        """See :meth:`Network.probe`; of a block with two attentions the largest logit, and the mean of their entropies.
        Blocks without attention are left out."""
        found: list[Tensor] = []

        def seen(block: Callable[..., Any], *given: Any) -> Any:
            with watched(self.members) as each:
                out = block(*given)
            if each:
                logits, entropies = torch.stack(each).unbind(-1)
                found.append(torch.stack([logits.amax(0), entropies.mean(0)], dim=-1))
            return out

        self(x, clock, tokens, pooled, [partial(seen, block) for block in self.blocks])
        return torch.stack(found, dim=1)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """The same start for every member: Xavier-uniform weights, zero biases, zero modulation and head (adaLN-Zero).

        All formulations of one seed begin here, so that a difference between them is not a difference of luck.
        """
        for layer in self.modules():
            if isinstance(layer, Layer):
                layer.initialise(generator)


class Transformer(Conditioned):
    """A network of patches whose ``blocks`` and output are modulated by time and pooled text (adaLN-Zero)."""

    def __init__(self, shape: Shape, members: int, blocks: Iterable[nn.Module], vectors: int) -> None:
        super().__init__(shape, members, Linear(members, shape.patch_width, shape.width))
        self.blocks = nn.ModuleList(blocks)
        self.modulation = Linear(members, shape.width, vectors * shape.width, zero=True)
        self.head = Linear(members, shape.width, shape.patch_width, zero=True)

    def forward(
        self,
        x: Tensor,
        clock: Tensor,
        tokens: Tensor,
        pooled: Tensor,
        blocks: Iterable[Callable[..., Any]] | None = None,
    ) -> Tensor:
        image, text = embedded(self.patch, x, self.shape) + self.positions, self.read(tokens)
        vectors = self.vectors(self.condition(clock, pooled))
        image = self.through(image, text, vectors[:-2], blocks or self.blocks)
        return pixels(self.head, modulate(image, *vectors[-2:]), self.shape)

    def through(
        self, image: Tensor, text: Tensor, vectors: tuple[Tensor, ...], blocks: Iterable[Callable[..., Any]]
    ) -> Tensor:
        """Image tokens ``[E, B, N, h]`` after the blocks, from image and text tokens ``[E, B, M, h]`` and adaLN's vectors
        ``[E, B, 1, h]``. Unless overridden, each block reads six vectors and updates image tokens only."""
        for i, block in enumerate(blocks):
            image = block(image, text, vectors[6 * i : 6 * i + 6])
        return image

    def vectors(self, condition: Tensor) -> tuple[Tensor, ...]:
        """adaLN's vectors ``[E, B, 1, h]`` of every block, and a shift and a scale of the output."""
        made: tuple[Tensor, ...] = self.modulation(F.silu(condition)).unsqueeze(2).split(self.shape.width, -1)
        return made


def embedded(layer: nn.Module, x: Tensor, shape: Shape) -> Tensor:
    """The patches of ``[E, B, C, H, W]`` through a layer: ``[E, B, N, h]``."""
    found: Tensor = layer(patchify(x, shape.patch).flatten(1, 2)).unflatten(1, (x.shape[1], -1))
    return found


def pixels(layer: nn.Module, image: Tensor, shape: Shape) -> Tensor:
    """``[E, B, C, H, W]`` from image tokens ``[E, B, N, h]`` through a layer."""
    return unpatchify(layer(image.flatten(1, 2)).unflatten(1, (image.shape[1], -1)), shape)
