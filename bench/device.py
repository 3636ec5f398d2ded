"""The device that a worker computes on."""

from __future__ import annotations

import torch

from samplers.errors import UserError


def pick_device(name: str) -> torch.device:
    """``auto`` is the first GPU if there is one. Raises :class:`UserError` for a device that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda", "mps"):
            raise RuntimeError(f"{device.type} is no device to train on")
        torch.zeros(1, device=device)
        if device.type == "cuda":
            torch.cuda.set_device(device)  # streams and graphs belong to the current device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--device {name!r} cannot be used ({reason}): choose 'auto' or 'cpu'") from None
    return device
