"""One member's networks as they are written down, on its weights by name: what `test_transformers.py` compares with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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

    def conv(self, name: str, x: Tensor) -> Tensor:
        weight = self.weights[f"{name}.weight"]
        return F.conv2d(x, weight, self.weights[f"{name}.bias"], padding=weight.shape[-1] // 2)

    def grouped(self, x: Tensor) -> Tensor:
        """Normalised over places and groups of channels, four or more each."""
        groups = max(g for g in (1, 2, 4, 8, 16, 32) if (x.shape[1] // 4) % g == 0)
        parts = x.unflatten(1, (groups, -1)).flatten(2)
        mean, variance = parts.mean(2, keepdim=True), parts.var(2, correction=0, keepdim=True)
        return ((parts - mean) / (variance + 1e-6).sqrt()).reshape(x.shape)

    def image(self, x: Tensor) -> Tensor:
        """Embedded patches with their positions."""
        return (
            self.linear("patch", F.unfold(x, self.shape.patch, stride=self.shape.patch).mT) + self.positions()
        )

    def positions(self) -> Tensor:
        """Sines and cosines of row and column."""
        h, side = self.shape.width, self.shape.side
        frequencies = [1e4 ** (-4 * i / h) for i in range(h // 4)]
        rows = [
            [f(at * w) for at in (row, column) for f in (math.sin, math.cos) for w in frequencies]
            for row in range(side)
            for column in range(side)
        ]
        return torch.tensor(rows)

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


def cross_block(w: Written, name: str, y: Tensor, text: Tensor, m: Sequence[Tensor]) -> Tensor:
    """Self-attention, cross-attention, MLP."""
    s1, b1, g1, s2, b2, g2 = m
    y = y + g1 * w.linear(f"{name}.out", w.attend(*w.qkv(name, modulated(y, s1, b1))))
    q = w.split(w.linear(f"{name}.cross.query", y))
    q = w.rms_norm(q, w.weights[f"{name}.cross.q_scale"].flatten() if w.rms else q)
    y = y + w.linear(f"{name}.cross.out", w.attend(q, *w.text_kv(f"{name}.cross.text", text)))
    return y + g2 * w.mlp(name, modulated(y, s2, b2))


def crossdit(w: Written, x: Tensor, clock: Tensor, tokens: Tensor, pooled: Tensor) -> Tensor:
    """Blocks one after the other."""
    m, y, text = w.vectors(w.condition(clock, pooled)), w.image(x), w.linear("text", tokens)
    for i in range(w.shape.depth):
        y = cross_block(w, f"blocks.{i}", y, text, m[6 * i : 6 * i + 6])
    return w.head(y, *m[-2:])


def mmdit(w: Written, x: Tensor, clock: Tensor, tokens: Tensor, pooled: Tensor) -> Tensor:
    """Two streams that attend to each other, or three."""
    m, d = w.vectors(w.condition(clock, pooled)), w.shape.depth
    text, first = w.linear("text", tokens), w.shape.first_text
    parts_of_text = {"text": text}
    if "blocks.0.text.qkv.weight" not in w.weights:
        parts_of_text = {"first": text[:, :first], "second": text[:, first:]}
    streams = {"image": w.image(x), **parts_of_text}
    at = 0
    for i in range(d):
        own, found = dict[str, list[Tensor]](), list[tuple[Tensor, ...]]()
        for name, y in streams.items():
            count = 2 if i == d - 1 and name != "image" else 6
            own[name], at = m[at : at + count], at + count
            found.append(w.qkv(f"blocks.{i}.{name}", modulated(y, *own[name][:2])))
        attended = w.attend(*(torch.cat(parts, 1) for parts in zip(*found, strict=True)))
        split = attended.split([y.shape[1] for y in streams.values()], 1)
        for (name, y), a in zip(list(streams.items()), split, strict=True):
            if len(own[name]) == 6:
                _, _, g1, s2, b2, g2 = own[name]
                y = y + g1 * w.linear(f"blocks.{i}.{name}.out", a)
                streams[name] = y + g2 * w.mlp(f"blocks.{i}.{name}", modulated(y, s2, b2))
    return w.head(streams["image"], *m[-2:])


def uvit_bao(w: Written, x: Tensor, clock: Tensor, tokens: Tensor, pooled: Tensor) -> Tensor:
    """Block ``depth - 1 - i`` reads the output of block i."""
    d, n, found = w.shape.depth, w.shape.image_tokens, list[Tensor]()
    y = torch.cat([w.image(x), w.linear("text", tokens), w.condition(clock, pooled)[:, None]], 1)
    for i in range(d):
        name = f"blocks.{i}"
        if i > d // 2:
            y = w.linear(f"{name}.skip", torch.cat([y, found[d - 1 - i]], -1))
        s1, b1, s2, b2 = w.weights[f"{name}.norms"].reshape(4, -1)
        y = y + w.linear(f"{name}.out", w.attend(*w.qkv(name, modulated(y, s1, b1))))
        y = y + w.mlp(name, modulated(y, s2, b2))
        found.append(y)
    shift, scale = w.weights["norm"].reshape(2, -1)
    return w.conv("last", w.head(y[:, :n], shift, scale))


def uvit(w: Written, x: Tensor, clock: Tensor, tokens: Tensor, pooled: Tensor, convs: int = 2) -> Tensor:
    """Down to the patch's size, the transformer, and up again."""
    levels, d, side = w.shape.patch.bit_length() - 1, w.shape.depth, w.shape.side
    made, text = w.linear("modulation", F.silu(w.condition(clock, pooled))), w.linear("text", tokens)
    at = block = 0

    def film(y: Tensor) -> Tensor:
        nonlocal at
        c = y.shape[1]
        scale, shift = made[:, at : at + c, None, None], made[:, at + c : at + 2 * c, None, None]
        at += 2 * c
        return F.silu(w.grouped(y) * (1 + scale) + shift)

    def res(y: Tensor) -> Tensor:
        nonlocal block
        name, block = f"blocks.{block}", block + 1
        short = w.conv(f"{name}.shortcut", y) if f"{name}.shortcut.weight" in w.weights else y
        return short + w.conv(f"{name}.two", film(w.conv(f"{name}.one", F.silu(w.grouped(y)))))

    y, kept = w.conv("patch", x), list[Tensor]()
    for level in range(levels):
        for _ in range(convs):
            y = res(y)
            kept.append(y)
        y = w.conv(f"down.{level}", F.avg_pool2d(y, 2))
    image = y.flatten(2).mT + w.positions()
    adaln = made[:, -6 * d * w.shape.width :, None].mT.split(w.shape.width, -1)
    for i in range(d):
        image = cross_block(w, f"blocks.{block}", image, text, adaln[6 * i : 6 * i + 6])
        block += 1
    y = image.mT.unflatten(2, (side, side))
    for level in range(levels):
        y = w.conv(f"up.{level}", y).repeat_interleave(2, 2).repeat_interleave(2, 3)
        for _ in range(convs):
            y = res(torch.cat([y, kept.pop()], 1))
    return w.conv("head", film(y))
