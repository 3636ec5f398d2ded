"""What a tracker is, the registry of them, and ``get``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, TypeVar

from flowbench._core.errors import UserError, nearest
from flowbench._core.registry import Registry, blame

F = TypeVar("F", bound=Callable[..., "Tracker"])


class Log(Protocol):
    """The log of one cell in a service."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add values by name, such as ``validation/loss``, after so many training steps."""

    def finish(self) -> None:
        """Write what is not written yet, and close the log."""


@dataclass(frozen=True)
class About:
    """A cell as a tracker sees it: the run folder, the cell's id and a readable name, and its configuration as JSON.

    ``step`` is the last step that an earlier log of the cell has, which is to be continued; 0 if it begins.
    """

    out: Path
    id: str
    name: str
    config: Mapping[str, Any]
    step: int


@dataclass(frozen=True)
class Tracker:
    """A service: ``start`` begins or continues the log of a cell, ``package`` must be installed for that."""

    start: Callable[[About], Log]
    package: str | None = None


registry: Registry[Tracker] = Registry("tracker")


def register(name: str) -> Callable[[F], F]:
    """Decorator that adds a tracker: ``@register("mine")`` on a function without parameters that returns it."""
    return registry.register(name)


def get(name: str) -> Tracker:
    """The tracker of that name. Raises :class:`UserError` for an unknown name and a package that is not installed."""
    if (entry := registry.find(name)) is None:
        raise UserError(f"--track {name!r}: {nearest(name, registry.names())}")
    with blame(f"tracker {name!r}"):
        made = entry.function()
    if made.package and find_spec(made.package) is None:
        raise UserError(
            f"--track {name}: the package {made.package!r} is not installed for {sys.executable}: pip install {made.package}"
        )
    return made
