"""How much memory is free, and how freed memory is kept for the next step."""

from __future__ import annotations

import ctypes
import sys

import torch

from bench.machine import cgroup

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Ask glibc to keep freed blocks up to 1 GiB, instead of returning them to the system and clearing them anew.

    Activations of a step are allocated and freed at the same sizes over and over; without this a fifth of the time on a
    CPU goes into page faults. Does nothing on other systems.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    mallopt(_MMAP_THRESHOLD, 1 << 30)
    mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)


def free_memory(device: torch.device) -> float:
    """Bytes that can still be allocated, by the container's limit if there is one; infinite where nothing tells."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return cgroup.available_memory()
