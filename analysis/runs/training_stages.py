"""Stages of training (``--stage``) of what a table shows, in words: results of fine-tuning must not pass for others."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd

    from bench.config import stages
else:
    stages = lazy("bench.config.stages")


def described(frame: pd.DataFrame) -> tuple[str, ...]:
    """A line for each way of training in several stages that the recipes of a results table have:
    ``trained in 2 stages: 500 steps on shapes, then from its ema weights steps=200,lr=0.0001``."""
    recipes = frame["recipe"].dropna().unique() if "recipe" in frame else ()
    found = [_chain(json.loads(recipe)) for recipe in recipes]
    lines = [
        f"trained in {len(chain)} stages: {', then '.join(_parts(chain))}"
        for chain in found
        if len(chain) > 1
    ]
    return tuple(dict.fromkeys(lines))


def _chain(recipe: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The recipes of all stages, the first one first."""
    init = recipe.get("init")
    return [*(_chain(init["cell"]) if init else []), recipe]


def _parts(chain: list[Mapping[str, Any]]) -> Iterator[str]:
    for before, after in zip([None, *chain], chain, strict=False):
        if before is None:
            text = f"{after['training']['steps']:,} steps"
        else:
            text = f"from its {after['init']['weights']} weights {','.join(_changes(before, after)) or 'the same again'}"
        # a recipe has only the dataset of a stage that is followed by one on another
        yield text + (f" on {after['dataset']}" if "dataset" in after else "")


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """What a stage changes, as ``--stage`` has it; a field that a recipe lacks has its default."""
    for part, known in stages.PARTS:
        for key, field in known.items():
            old, new = (recipe[part].get(field.name, field.default) for recipe in (before, after))
            if old != new:
                yield f"{key}={stages.shown(tuple(new) if isinstance(new, list) else new)}"
