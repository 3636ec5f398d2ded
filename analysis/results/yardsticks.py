"""What real images score in the place of generated ones: the yardsticks beside a ranking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.results import declared

if TYPE_CHECKING:
    import pandas as pd


ENDS = {"real images": "real", "shuffled captions": "shuffled", "squares only": "squares"}
"""Rows below a ranking by how the names of their values end."""


def _same_recipe(given: dict[str, Any], about: Mapping[str, Any], dataset: str) -> bool:
    """Whether a dataset's yardsticks were measured as the table was, as far as both say how."""
    pairs = [(given.get(f"{m}_name"), about["recipes"].get(m, {}).get(dataset)) for m in ("clip", "fid")]
    return all(a is None or b is None or a == b for a, b in pairs)


def of_recipe(given: dict[str, Any], about: Mapping[str, Any], dataset: str) -> dict[str, Any]:
    """A dataset's yardsticks if they were measured as the table was, else none."""
    return given if _same_recipe(given, about, dataset) else {}


def rows(ranking: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows 'real images', 'shuffled captions' and, of generated shapes, 'squares only': for each dataset, and for their
    mean if all have them."""
    about: dict[str, Any] = dict(ranking.attrs)  # type: ignore[arg-type]
    given = {d: v for d, v in about.get("yardsticks", {}).items() if _same_recipe(v, about, d)}
    metrics = declared.among(about)
    several = len(about.get("datasets", [])) > 1
    found: list[dict[str, Any]] = []
    for title, end in ENDS.items():
        by_dataset = {
            dataset: {m: float(v[f"{m}_{end}"]) for m in metrics if v.get(f"{m}_{end}") is not None}
            for dataset, v in given.items()
        }
        if several and len(given) == len(about["datasets"]):
            common = [m for m in metrics if all(m in v for v in by_dataset.values())]
            mean = {m: float(np.mean([v[m] for v in by_dataset.values()])) for m in common}
            found += [{"formulation": title, **mean}] if mean else []
        found += [
            {"formulation": f"{title} ({dataset})" if several else title, **values}
            for dataset, values in by_dataset.items()
            if values
        ]
    return found


def left_out(ranking: pd.DataFrame) -> list[str]:
    """A line about yardsticks that another recipe measured, if there are such."""
    about: dict[str, Any] = dict(ranking.attrs)  # type: ignore[arg-type]
    other = [d for d, v in about["yardsticks"].items() if not _same_recipe(v, about, d)]
    if not other:
        return []
    return [f"the yardsticks of {', '.join(other)} were measured by another recipe and are left out"]
