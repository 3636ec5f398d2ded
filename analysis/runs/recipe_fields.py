"""The fields of recipes, how cells were trained and measured, by dotted name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    from bench.config import experiment
else:
    experiment = lazy("bench.config.experiment")

NETWORK = "model"
"""What the network is called in options, as it is a part of the recipe and no column."""


def flat(recipe: str) -> dict[str, Any]:
    """A recipe's fields by dotted name, e.g. ``{"model.depth": 4, ...}``."""

    def fields(value: Any, name: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            return {name: value}
        parts = (fields(part, f"{name}.{key}" if name else str(key)) for key, part in value.items())
        return {key: part for found in parts for key, part in found.items()}

    return fields(json.loads(recipe), "")


def differing(recipes: Sequence[str]) -> dict[str, list[Any]]:
    """The dotted fields in which recipes differ, each with its values in order of appearance."""
    flats = [flat(recipe) for recipe in dict.fromkeys(recipes)]
    found = {name: [fields.get(name) for fields in flats] for fields in flats for name in fields}
    distinct = {
        name: [v for i, v in enumerate(values) if v not in values[:i]] for name, values in found.items()
    }
    return {name: values for name, values in distinct.items() if len(values) > 1}


def network_of(recipe: str) -> str | None:
    """The network's name with its options, as `--model` has it; None for a recipe that names no model."""
    model = json.loads(recipe).get("model")
    return None if model is None else network(model.get("architecture"))


def network(architecture: str | None) -> str:
    """The network's name with its options; a recipe leaves out the usual one's."""
    return architecture or experiment.Model().architecture
