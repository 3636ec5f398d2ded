"""One member's networks as they are written down, on its weights by name: what `test_transformers.py` compares with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.models.shape import Shape


@dataclass(frozen=True)
class Written:
    """The layers of a network, with its weights ``[in, out]`` by name; ``[B, N, h]`` are tokens, ``[B, h]`` conditions."""

    weights: Mapping[str, Tensor]
    shape: Shape
    rms: bool = True
    tanh: bool = False

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"].flatten()

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.shape.heads, -1))

    def rms_norm(self, x: Tensor, scale: Tensor) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * scale if self.rms else x

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """``[B, N, heads, D]`` each."""
        scores = torch.einsum("bihd,bjhd->bhij", q, k) / math.sqrt(q.shape[-1])
        weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
        return torch.einsum("bhij,bjhd->bihd", weights, v).flatten(2)

    def qkv(self, name: str, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of a stream."""
        q, k, v = (self.split(part) for part in self.linear(f"{name}.qkv", x).chunk(3, -1))
        scales = self.weights[f"{name}.qk_scale"].flatten(0, -2) if self.rms else torch.ones(2, 1)
        return self.rms_norm(q, scales[0]), self.rms_norm(k, scales[1]), v

    def text_kv(self, name: str, text: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of a text that is not updated."""
        k, v = (self.split(part) for part in self.linear(f"{name}.kv", text).chunk(2, -1))
        return self.rms_norm(k, self.weights[f"{name}.k_scale"].flatten() if self.rms else k), v

    def mlp(self, name: str, x: Tensor) -> Tensor:
        hidden = self.linear(f"{name}.up", x)
        approximate = "tanh" if self.tanh else "none"
        return self.linear(f"{name}.down", F.gelu(hidden, approximate=approximate))

    def image(self, x: Tensor) -> Tensor:
        """Embedded patches with their positions."""
        h, p, side = self.shape.width, self.shape.patch, self.shape.side
        frequencies = [1e4 ** (-4 * i / h) for i in range(h // 4)]
        rows = [
            [f(at * w) for at in (row, column) for f in (math.sin, math.cos) for w in frequencies]
            for row in range(side)
            for column in range(side)
        ]
        return self.linear("patch", F.unfold(x, p, stride=p).mT) + torch.tensor(rows)

    def pixels(self, patches: Tensor) -> Tensor:
        return F.fold(patches.mT, self.shape.resolution, self.shape.patch, stride=self.shape.patch)

    def condition(self, clock: Tensor, pooled: Tensor) -> Tensor:
        angles = 1000 * clock[:, None] * torch.tensor([1e4 ** (-i / 128) for i in range(128)])
        time = F.silu(self.linear("time_in", torch.cat([angles.cos(), angles.sin()], 1)))
        text = F.silu(self.linear("pooled_in", pooled))
        return self.linear("time_out", time) + self.linear("pooled_out", text)

    def vectors(self, condition: Tensor) -> list[Tensor]:
        """adaLN's vectors ``[B, 1, h]``; with a table those of adaLN-single."""
        shared = list(self.linear("modulation", F.silu(condition))[:, None].split(self.shape.width, -1))
        if "table" not in self.weights:
            return shared
        each = shared * self.shape.depth + [condition[:, None]] * 2
        return [v + own for v, own in zip(each, self.weights["table"][0], strict=True)]

    def head(self, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        return self.pixels(self.linear("head", modulated(x, shift, scale)))


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, correction=0, keepdim=True)
    return (x - mean) / (variance + 1e-6).sqrt() * (1 + scale) + shift


def dit(w: Written, x: Tensor, clock: Tensor, tokens: Tensor, pooled: Tensor) -> Tensor:
    """Every token passes every layer; the image is read at the end."""
    m = w.vectors(w.condition(clock, pooled))
    y = torch.cat([w.image(x), w.linear("text", tokens)], 1)
    for i in range(w.shape.depth):
        name, (s1, b1, g1, s2, b2, g2) = f"blocks.{i}", m[6 * i : 6 * i + 6]
        y = y + g1 * w.linear(f"{name}.out", w.attend(*w.qkv(name, modulated(y, s1, b1))))
        y = y + g2 * w.mlp(name, modulated(y, s2, b2))
    return w.head(y[:, : w.shape.image_tokens], *m[-2:])


def prx(w: Written, x: Tensor, clock: Tensor, tokens: Tensor, pooled: Tensor) -> Tensor:
    """Image tokens attend to the text and to each other."""
    m, y, text = w.vectors(w.condition(clock, pooled)), w.image(x), w.linear("text", tokens)
    for i in range(w.shape.depth):
        name, (s1, b1, g1, s2, b2, g2) = f"blocks.{i}", m[6 * i : 6 * i + 6]
        q, k, v = w.qkv(name, modulated(y, s1, b1))
        keys, values = w.text_kv(f"{name}.text", text)
        joint = torch.cat([keys, k], 1), torch.cat([values, v], 1)
        y = y + g1 * w.linear(f"{name}.out", w.attend(q, *joint))
        y = y + g2 * w.mlp(name, modulated(y, s2, b2))
    return w.head(y, *m[-2:])


def crossdit(w: Written, x: Tensor, clock: Tensor, tokens: Tensor, pooled: Tensor) -> Tensor:
    """Self-attention, cross-attention, MLP."""
    m, y, text = w.vectors(w.condition(clock, pooled)), w.image(x), w.linear("text", tokens)
    for i in range(w.shape.depth):
        name, (s1, b1, g1, s2, b2, g2) = f"blocks.{i}", m[6 * i : 6 * i + 6]
        y = y + g1 * w.linear(f"{name}.out", w.attend(*w.qkv(name, modulated(y, s1, b1))))
        q = w.split(w.linear(f"{name}.cross.query", y))
        q = w.rms_norm(q, w.weights[f"{name}.cross.q_scale"].flatten() if w.rms else q)
        y = y + w.linear(f"{name}.cross.out", w.attend(q, *w.text_kv(f"{name}.cross.text", text)))
        y = y + g2 * w.mlp(name, modulated(y, s2, b2))
    return w.head(y, *m[-2:])
