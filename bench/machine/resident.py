"""What is kept on the device from step to step, and how the rest gets there."""

from __future__ import annotations

import torch
from torch import Tensor

RESIDENT = 1 << 31
"""Bytes of training inputs, and again of encoded captions, that are kept on a processor; a GPU keeps as many as a quarter of
its memory. Batches of larger datasets are read as they are drawn; no result depends on it."""


def resident_bytes(device: torch.device) -> int:
    """Bytes of training inputs, and again of encoded captions, that are kept on a device."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory // 4)
    return RESIDENT


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor`` on the device; to a GPU from pinned memory, so that the copy waits for nothing."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
