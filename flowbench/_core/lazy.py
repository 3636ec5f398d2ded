"""Modules that are imported when first used, so that names, plans and ``--help`` need no torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from flowbench._core.errors import UserError


class _Lazy(ModuleType):
    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return lazy, (self.__name__,)


def lazy(name: str) -> Any:
    """A stand-in for module ``name`` that imports it at the first attribute access."""
    return _Lazy(name)


@contextmanager
def needed(package: str) -> Iterator[None]:
    """Raise :class:`UserError` if the imports in the block fail: a library that ours is compared with is not installed."""
    try:
        yield
    except ImportError:
        raise UserError(
            f"this part compares with {package}, which is not installed: pip install -e '.[speed]'"
        ) from None
