"""Modules that are imported when first used, so that names, plans and ``--help`` need no torch."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any


class _Lazy(ModuleType):
    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


def lazy(name: str) -> Any:
    """A stand-in for module ``name`` that imports it at the first attribute access."""
    return _Lazy(name)
