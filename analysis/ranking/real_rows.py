"""What real images score instead of generated ones: the rows of references under a ranking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.ranking.result import Facts
from analysis.runs.run import REFERENCES


def of_recipe(facts: Facts) -> dict[str, Mapping[str, Any]]:
    """The references by dataset, of those that were measured as the table was, as far as both name their recipe."""
    found = {}
    for dataset, given in facts.real_scores.items():
        pairs = [(given.get(f"{m}_name"), facts.recipes.get(m, {}).get(dataset)) for m in ("clip", "fid")]
        if all(a is None or b is None or a == b for a, b in pairs):
            found[dataset] = given
    return found


def rows(facts: Facts) -> list[dict[str, Any]]:
    """Rows 'real images', 'shuffled captions', of inputs with a decoder 'decoded images' and of generated shapes 'squares
    only': for each dataset, and for their mean if all have them; one row where all are alike, as of one dataset by several
    networks."""
    given, metrics = of_recipe(facts), [metric.name for metric in facts.metrics]
    several = len(facts.datasets) > 1
    found: list[dict[str, Any]] = []
    for title, end in REFERENCES.items():
        by_dataset = {
            dataset: {m: float(v[f"{m}_{end}"]) for m in metrics if v.get(f"{m}_{end}") is not None}
            for dataset, v in given.items()
        }
        first = next(iter(by_dataset.values()), {})
        if several and len(given) == len(facts.datasets) and all(v == first for v in by_dataset.values()):
            found += [{"formulation": title, **first}] if first else []
            continue
        if several and len(given) == len(facts.datasets):
            common = [m for m in metrics if all(m in v for v in by_dataset.values())]
            mean = {m: float(np.mean([v[m] for v in by_dataset.values()])) for m in common}
            found += [{"formulation": title, **mean}] if mean else []
        found += [
            {"formulation": f"{title} ({dataset})" if several else title, **values}
            for dataset, values in by_dataset.items()
            if values
        ]
    return found


def left_out(facts: Facts) -> list[str]:
    """A line about references that another recipe measured, if there are such."""
    other = [dataset for dataset in facts.real_scores if dataset not in of_recipe(facts)]
    if not other:
        return []
    return [
        f"the scores of real images of {', '.join(other)} were measured by another recipe and are left out"
    ]
