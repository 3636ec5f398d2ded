"""The device that a worker computes on."""

from __future__ import annotations

import torch

from flowbench._core.errors import UserError


class NoDevice(UserError):
    """The device that was asked for is not there."""


class DeviceLost(BaseException):
    """The device does nothing more in this process. No ``Exception``: it is no failure of a cell."""


def check_device(device: torch.device) -> None:
    """Raises :class:`DeviceLost` if a GPU does not even add any more, as after an illegal memory access."""
    if device.type == "cuda":
        try:
            torch.zeros(1, device=device).add(1).item()
        except torch.cuda.OutOfMemoryError:
            return
        except RuntimeError as error:
            raise DeviceLost(str(error).splitlines()[0]) from None


def pick_device(name: str) -> torch.device:
    """``auto`` is the first GPU if there is one. Raises :class:`NoDevice` for a device that is not there."""
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
        raise NoDevice(f"--device {name!r} cannot be used ({reason}): choose 'auto' or 'cpu'") from None
    return device
