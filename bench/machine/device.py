"""The device that a worker computes on, its name and its memory."""

from __future__ import annotations

import ctypes
import platform
from contextlib import suppress
from pathlib import Path

import torch

from bench.machine import cgroup
from flowbench._core.errors import UserError

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


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


def device_name(device: torch.device) -> str:
    """The name of a GPU, or the model of the processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()


def processor() -> str:
    """The processor's model, as the system names it."""
    with suppress(OSError, StopIteration):  # not Linux, or a processor without a name
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Versions that a number may depend on."""
    return {"torch": torch.__version__, "python": platform.python_version()}


def free_memory(device: torch.device) -> float:
    """Bytes that can still be allocated, by the container's limit if there is one; infinite where that is unknown."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return cgroup.available_memory()


def keep_freed_memory() -> None:
    """Ask glibc to keep freed blocks up to 1 GiB, instead of returning them to the system and clearing them anew.

    Activations of a step are allocated and freed at the same sizes over and over; without this a fifth of the time on a
    CPU goes into page faults. Does nothing with another C library.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, 1 << 30)
        mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
