"""What the fields of a configuration may be; each raises :class:`UserError` that names the option and the nearest value."""

from __future__ import annotations

from typing import Any

from flowbench._core.errors import UserError


def positive(config: Any, *names: str) -> None:
    """Fields that must be finite and greater than 0."""
    for name in names:
        if not 0 < getattr(config, name) < float("inf"):
            raise UserError(f"{flag(name)} {getattr(config, name):g}: must be a finite number greater than 0")


def within(config: Any, name: str, low: float, high: float) -> None:
    """A field that must lie between two bounds."""
    value = getattr(config, name)
    if not low <= value <= high:
        closest = min(max(value, low), high) if value == value else low
        raise UserError(
            f"{flag(name)} {value:g}: must lie in [{low:g}, {high:g}], the nearest is {closest:g}"
        )


def choice(config: Any, name: str, choices: tuple[str, ...]) -> None:
    """A field that must be one of a few words."""
    if getattr(config, name) not in choices:
        raise UserError(
            f"{flag(name)} {getattr(config, name)!r}: choose from {', '.join(map(repr, choices))}"
        )


def flag(name: str) -> str:
    """The command's option for a field."""
    special = {
        "train": "train-images",
        "validation": "validation-images",
        "validation_images": "validation-batch",
    }
    return "--" + special.get(name, name.replace("_", "-"))


def divides(patch: int, edge: int, what: str) -> None:
    """Raise :class:`UserError` unless a patch divides the ``edge`` of an image, called ``what``."""
    if edge % patch:
        fitting = min((p for p in range(1, edge + 1) if edge % p == 0), key=lambda p: abs(p - patch))
        raise UserError(f"--patch {patch} does not divide {what} {edge}: the nearest that does is {fitting}")
