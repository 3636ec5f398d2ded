"""The identity of configurations: hashes over the fields that are not default, and their JSON on file. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any, TypeVar, get_args, get_type_hints

T = TypeVar("T")

COLUMN = {"column": True}
"""Marks fields that are columns of the results table: rows differ in them. All others are the recipe that rows share."""
OPTIMISER = {"optimiser": True}
"""Marks fields that some optimisers read and others do not (:data:`bench.optimisers.optimiser.OPTIONS`)."""
LATER = {"later": True}
"""Marks fields that are younger than results: configurations on file leave them out while they have their defaults, so that
a field costs what is there already nothing."""
MEASURES = {"measures": True}
"""Marks fields that change what is measured of images, and not the images."""


def marked(of: Field[Any], *marks: Mapping[str, bool]) -> bool:
    """Whether a field has one of these marks; it may have several."""
    return any(mark.items() <= of.metadata.items() for mark in marks)


def identity(config: Any) -> str:
    """12 hexadecimal digits of sha256 over the canonical JSON of a dataclass's non-default fields."""
    return hashlib.sha256(canonical(non_default(config)).encode()).hexdigest()[:12]


def canonical(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, no NaN, numbers by ``repr``."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def non_default(config: Any) -> dict[str, Any]:
    """The fields of a dataclass that differ from their defaults, nested dataclasses likewise; required ones always."""
    default = {f.name: _default(f) for f in fields(config)}
    out: dict[str, Any] = {}
    for name, usual in default.items():
        value = getattr(config, name)
        if value == usual:
            continue
        if isinstance(usual, float):
            value = float(value)
        out[name] = _hashed(value)
    return out


def _hashed(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_hashed(item) for item in value]
    return non_default(value) if hasattr(value, "__dataclass_fields__") else value


def full(config: Any) -> dict[str, Any]:
    """Every field of a dataclass as JSON holds it (tuples as lists), but for those of :data:`LATER`."""
    loaded: dict[str, Any] = json.loads(canonical(_on_file(config)))
    return loaded


def _on_file(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_on_file(item) for item in value]
    if not hasattr(value, "__dataclass_fields__"):
        return value
    held = {f.name: getattr(value, f.name) for f in fields(value)}
    younger = {f.name for f in fields(value) if marked(f, LATER) and held[f.name] == _default(f)}
    return {name: _on_file(part) for name, part in held.items() if name not in younger}


def shared(config: Any) -> dict[str, Any]:
    """:func:`full` without the fields that are columns of the results table."""
    kept = full(config)
    return {f.name: kept[f.name] for f in fields(config) if not marked(f, COLUMN) and f.name in kept}


def restore(kind: type[T], kept: Mapping[str, Any]) -> T:
    """The dataclass that :func:`full` made ``kept`` from. Raises TypeError for fields that it does not have."""
    types = get_type_hints(kind)
    return kind(**{name: _restored(types.get(name), value) for name, value in kept.items()})


def _restored(kind: Any, value: Any) -> Any:
    if isinstance(value, dict):  # of a field that may be None
        kind = next((k for k in get_args(kind) if hasattr(k, "__dataclass_fields__")), kind)
    if hasattr(kind, "__dataclass_fields__"):
        return restore(kind, value)
    if isinstance(value, list):
        of = get_args(kind)
        return tuple(_restored(of[0] if of else None, item) for item in value)
    return value


def _default(f: Any) -> Any:
    return f.default_factory() if callable(f.default_factory) else f.default
