"""The limits of this process's control group, of either version: cores' worth of time, and memory. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

ROOT, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
UNLIMITED = float("inf")
HUGE = float(1 << 60)
"""Version 1 writes a number near 2^63 where memory has no limit."""


def folders(controller: str, root: Path = ROOT, own: Path = OWN) -> Iterator[Path]:
    """The folders whose files limit this process: its group's and those above it, of both versions.

    A container that sees the host's name of its group has its own group at the root of the mount.
    """
    with suppress(OSError, ValueError):
        for line in own.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            mounts = [root / controllers, root / controller] if controllers else [root, root / "unified"]
            for mount in dict.fromkeys(mounts):
                place = mount / path.lstrip("/")
                yield from (p for p in (place, *place.parents) if p == mount or p.is_relative_to(mount))


def cores(root: Path = ROOT, own: Path = OWN) -> float:
    """Cores' worth of time that the quotas leave (1.5 is one and a half); infinite without a quota."""
    found = [UNLIMITED]
    for folder in folders("cpu", root, own):
        with suppress(OSError, ValueError):
            quota, period = map(float, (folder / "cpu.max").read_text().split())  # "max" is no number
            found.append(quota / period)
        with suppress(OSError, ValueError):
            quota, period = (
                float((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period")
            )
            found += [quota / period] if quota > 0 else []
    return min(found)


def free_memory(root: Path = ROOT, own: Path = OWN) -> float:
    """Bytes that the limits leave; infinite without a limit."""
    found = [UNLIMITED]
    for folder in folders("memory", root, own):
        for limit, used in (("max", "current"), ("limit_in_bytes", "usage_in_bytes")):
            with suppress(OSError, ValueError):
                most, now = (float((folder / f"memory.{name}").read_text()) for name in (limit, used))
                found += [max(0.0, most - now)] if most < HUGE else []
    return min(found)


def available_memory(meminfo: Path = Path("/proc/meminfo")) -> float:
    """Bytes that can still be allocated, by the system and by the limits; infinite where that is unknown."""
    found = [free_memory()]
    with suppress(OSError, StopIteration, ValueError):
        lines = meminfo.read_text(encoding="utf-8").splitlines()
        found.append(1024.0 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")))
    return min(found)
