"""The models that ours is timed against: diffusers' SD3 transformer and lucidrains' mmdit, in the best form we know.

Both do the same job on the same inputs: ``network(x, clock, tokens, pooled) -> image``, from noisy images, a time, caption
tokens and a pooled caption.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from bench.models.networks.embeddings import FREQUENCIES, positions_2d, time_features, unpatchify
from bench.models.shape import Shape
from flowbench._core.lazy import needed


class Diffusers(nn.Module):
    """diffusers' ``SD3Transformer2DModel``: parameter for parameter the size of ours."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        with needed("diffusers"):
            from diffusers import SD3Transformer2DModel
        self.model: nn.Module = SD3Transformer2DModel(
            sample_size=shape.resolution,
            patch_size=shape.patch,
            in_channels=shape.channels,
            out_channels=shape.channels,
            num_layers=shape.depth,
            attention_head_dim=shape.width // shape.heads,
            num_attention_heads=shape.heads,
            joint_attention_dim=shape.text_width,
            caption_projection_dim=shape.width,
            pooled_projection_dim=shape.pooled_width,
            pos_embed_max_size=shape.side,
            qk_norm="rms_norm",
        )

    def forward(self, x: Tensor, clock: Tensor, tokens: Tensor, pooled: Tensor) -> Tensor:
        out: Tensor = self.model(x, tokens, pooled, 1000 * clock, return_dict=False)[0]
        return out


class Lucidrains(nn.Module):
    """lucidrains' ``mmdit`` between patch, text, time and pooled embeddings and a head like ours.

    One residual stream instead of its default four hyper-connections, fused attention, and RMS-normalised queries and
    keys. Its blocks (0.3.0) take ``qk_rmsnorm`` and do not pass it on, so their attention is replaced by its own class
    with the norm.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        with needed("mmdit"):
            from mmdit.mmdit_pytorch import JointAttention, MMDiT
        h, head = shape.width, {"dim_head": shape.width // shape.heads, "heads": shape.heads}
        self.shape = shape
        self.patch = nn.Conv2d(shape.channels, h, shape.patch, stride=shape.patch)
        self.text = nn.Linear(shape.text_width, h)
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, h), nn.SiLU(), nn.Linear(h, h))
        self.pooled = nn.Sequential(nn.Linear(shape.pooled_width, h), nn.SiLU(), nn.Linear(h, h))
        dims = {"dim_image": h, "dim_text": h, "dim_cond": h}
        self.blocks: nn.Module = MMDiT(
            depth=shape.depth, flash_attn=True, num_residual_streams=1, **dims, **head
        )
        for block in self.blocks.get_submodule("blocks").children():
            block.joint_attn = JointAttention(dim_inputs=(h, h), qk_rmsnorm=True, flash=True, **head)
        self.head = nn.Linear(h, shape.patch_width)
        self.register_buffer("positions", positions_2d(shape.side, h), persistent=False)

    def forward(self, x: Tensor, clock: Tensor, tokens: Tensor, pooled: Tensor) -> Tensor:
        image = self.patch(x).flatten(2).transpose(1, 2) + self.positions
        condition = self.time(time_features(clock)) + self.pooled(pooled)
        _, image = self.blocks(text_tokens=self.text(tokens), image_tokens=image, time_cond=condition)
        return unpatchify(self.head(image)[None], self.shape)[0]


PEERS: dict[str, Callable[[Shape], nn.Module]] = {"diffusers": Diffusers, "mmdit": Lucidrains}
"""By the names of their libraries."""


def parameters(model: nn.Module) -> int:
    """Trained numbers in a model."""
    return sum(p.numel() for p in model.parameters())
