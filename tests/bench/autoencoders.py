"""Small autoencoders of diffusers' real classes with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def save_kl(folder: Path, **more: Any) -> Path:
    """An ``AutoencoderKL`` of 4 channels that halves each edge."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    sizes = {"block_out_channels": (8, 8), "norm_num_groups": 4, "latent_channels": 4}
    AutoencoderKL(in_channels=3, out_channels=3, **blocks, **sizes, **more).save_pretrained(folder)
    return folder
