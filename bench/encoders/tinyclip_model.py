"""The two towers of `tinyclip`: a small conv net for pictures, a small transformer for words."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.encoders.tokenizer import PAD


@dataclass(frozen=True)
class TinyCLIPConfig:
    """Sizes of the towers. ``words`` is the number of words in the vocabulary, ``length`` the tokens of a
    caption."""

    words: int
    length: int
    dim: int = 64
    resolution: int = 32
    channels: tuple[int, int, int] = (32, 64, 128)
    image_layers: int = 1
    text_width: int = 96
    text_layers: int = 2
    heads: int = 4


def bicubic(images: Tensor, resolution: int) -> Tensor:
    """Pictures ``[N, C, H, W]``, values in [0, 255] -> float32 ``[N, 3, resolution, resolution]`` in about
    [-1, 1].

    Antialiased bicubic in float32 without rounding; one channel is repeated to three.
    """
    x = images.float() / 127.5 - 1.0
    if x.shape[-2:] != (resolution, resolution):
        x = F.interpolate(x, (resolution, resolution), mode="bicubic", antialias=True, align_corners=False)
    return x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x


class Attention(nn.Module):
    """Pre-norm multi-head self-attention and MLP with residuals over ``[N, L, width]``."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        n, length, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(n, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(y.transpose(1, 2).reshape(n, length, width))
        change: Tensor = self.down(F.gelu(self.up(self.norm2(x))))
        return x + change


class Residual(nn.Module):
    """GroupNorm, SiLU, 3x3 convolution, added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.conv(F.silu(self.norm(x)))
        return x + change


class ImageTower(nn.Module):
    """``[N, 3, 32, 32]`` in [-1, 1] -> ``[N, dim]``, not normalised.

    Three strided stages lead to a 4x4 grid; its cells attend to each other and are flattened, so that *where*
    things are is kept. GroupNorm: a picture's features do not depend on its batch.
    """

    def __init__(self, config: TinyCLIPConfig) -> None:
        super().__init__()
        c1, c2, c3 = config.channels
        cells = (config.resolution // 8) ** 2
        self.grid = nn.Sequential(
            nn.Conv2d(3, c1, 3, stride=2, padding=1), Residual(c1),
            nn.Conv2d(c1, c2, 3, stride=2, padding=1), Residual(c2),
            nn.Conv2d(c2, c3, 3, stride=2, padding=1), Residual(c3),
        )  # fmt: skip
        self.position = nn.Parameter(0.02 * torch.randn(cells, c3))
        self.layers = nn.ModuleList(Attention(c3, config.heads) for _ in range(config.image_layers))
        self.norm = nn.LayerNorm(c3)
        self.hidden = nn.Linear(cells * c3, 2 * c3)
        self.project = nn.Linear(2 * c3, config.dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The embedding and the hidden vector before it."""
        x = (
            self.grid(x.contiguous(memory_format=torch.channels_last)).flatten(2).transpose(1, 2)
            + self.position
        )
        for layer in self.layers:
            x = layer(x)
        hidden = F.gelu(self.hidden(self.norm(x).flatten(1)))
        return self.project(hidden), hidden


class TextTower(nn.Module):
    """Ids ``[N, L]`` -> tokens ``[N, L, text_width]`` (layer-normed, zero on padding) and an embedding ``[N,
    dim]``."""

    def __init__(self, config: TinyCLIPConfig) -> None:
        super().__init__()
        width = config.text_width
        self.embed = nn.Embedding(config.words, width)
        self.position = nn.Parameter(0.3 * torch.randn(config.length, width))
        self.layers = nn.ModuleList(Attention(width, config.heads) for _ in range(config.text_layers))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.score = nn.Linear(width, config.heads)
        self.project = nn.Linear(width * config.heads, config.dim)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        real = ids != PAD
        real = torch.cat(
            [torch.ones_like(real[:, :1]), real[:, 1:]], 1
        )  # an empty caption attends to one pad
        x = self.embed(ids) + self.position
        for layer in self.layers:
            x = layer(x, real[:, None, None, :])
        tokens = self.norm(x)
        share = self.score(tokens).masked_fill(~real[..., None], float("-inf")).softmax(1)
        pooled = torch.einsum("nlh,nlw->nhw", share, tokens).flatten(1)
        return tokens * (ids != PAD)[..., None], self.project(pooled)


class DualEncoder(nn.Module):
    """Both towers and the learned inverse temperature of the contrastive loss (as its logarithm)."""

    def __init__(self, config: TinyCLIPConfig) -> None:
        super().__init__()
        self.config = config
        self.image, self.text = ImageTower(config), TextTower(config)
        self.log_scale = nn.Parameter(torch.tensor(10.0).log())
