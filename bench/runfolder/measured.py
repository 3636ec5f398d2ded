"""What an evaluation leaves of a cell as numbers, ``EVAL/result.json``: its schema, and the one reader of it. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config.sampling_settings import CONTROL, WRITTEN, ControlSetting
from flowbench._core import atomic
from flowbench._core.errors import UserError


@dataclass(frozen=True)
class Measured:
    """The ``values`` of each control setting by metric, None where there is none; ``names`` are full names of metrics, by
    ``clip_name`` and so on."""

    values: dict[ControlSetting, dict[str, float | None]]
    names: dict[str, str]


def read(file: Path) -> Measured:
    """Read the measurements of a cell. Raises :class:`flowbench._core.atomic.Damaged` naming the file."""
    kept = atomic.read_object(file, cure="")
    names, settings = kept.get("names"), kept.get("settings")
    found = list(settings.values()) if isinstance(settings, dict) else []
    if not isinstance(names, dict) or not found:
        raise atomic.Damaged(f"{file} is not a result")
    if not all(isinstance(each, dict) and set(WRITTEN) <= each.keys() for each in found):
        raise atomic.Damaged(f"{file} is not a result")
    values = [{name: v for name, v in each.items() if name not in CONTROL} for each in found]
    if not all(is_number(v) for each in values for v in each.values()):
        raise atomic.Damaged(f"{file} has no number where one should be")
    try:
        controls = [
            ControlSetting(**{name: each[name] for name in CONTROL if name in each}) for each in found
        ]
    except (UserError, TypeError, ValueError):
        raise atomic.Damaged(f"{file} names an unknown sampler setting") from None
    full = {name: str(value) for name, value in names.items()}
    return Measured(dict(zip(controls, values, strict=True)), full)


def is_number(value: Any) -> bool:
    """Whether a value is a number or absent."""
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
