"""Checks and digests that all image encoders share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


IMAGES_AT_ONCE = 32
"""Images that a large network reads in one pass."""


def rgb(images: Tensor) -> Tensor:
    """Images uint8 ``[N, C, H, W]`` with one channel repeated to three. Raises as :func:`check_uint8`."""
    check_uint8(images)
    return images.expand(-1, 3, -1, -1)


def image_features(images: Tensor, features: Callable[[Tensor], Tensor], dim: int, batch: int = 32) -> Tensor:
    """Images uint8 ``[N, C, H, W]`` to features ``[N, dim]``, of ``batch`` RGB images at a time, without gradients."""
    images = rgb(images)
    with torch.no_grad():
        parts = [features(images[i : i + batch]) for i in range(0, len(images), batch)]
    return torch.cat(parts) if parts else torch.zeros(0, dim)


def pillow(images: Tensor) -> list[Any]:
    """Images uint8 ``[N, 3, H, W]`` as Pillow's."""
    from PIL import Image

    return [Image.fromarray(image) for image in images.permute(0, 2, 3, 1).cpu().numpy()]


def check_uint8(images: Tensor) -> None:
    """Raise `UserError` unless images are uint8 ``[N, 1 or 3, H, W]``."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        given = f"{str(images.dtype).removeprefix('torch.')} {list(images.shape)}"
        raise UserError(f"images must be uint8 [N, 1 or 3, H, W], not {given}")


FORM = (
    "act_fn",
    "feed_forward_proj",
    "hidden_act",
    "layer_norm_eps",
    "layer_norm_epsilon",
    "norm_num_groups",
    "num_attention_heads",
    "num_heads",
    "relative_attention_max_distance",
)
"""Fields of configurations that change what the same weights compute; conversions of one model differ in some."""


def form(config: Any) -> dict[str, Any]:
    """Those of :data:`FORM` that a model's configuration has, for its digest."""
    return {name: value for name in FORM if (value := getattr(config, name, None)) is not None}


def weights_digest(state: dict[str, Any], extra: object = None) -> str:
    """First 8 hex digits of the sha256 of named tensors (names, types, shapes, bytes) and of ``extra`` as
    JSON.

    It depends on the numbers, not on the file format that held them.
    """
    digest = hashlib.sha256(json.dumps(extra, sort_keys=True).encode())
    for key in sorted(state):
        value = state[key].detach().cpu().contiguous()
        digest.update(f"{key}:{value.dtype}:{list(value.shape)}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:8]


def file_digest(path: Path) -> str:
    """First 8 hex digits of the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:8]
