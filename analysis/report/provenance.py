"""Where the numbers come from: commands, code, versions, devices, time and recipes; no names of hosts."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.files import object_of
from analysis.manifest import flat
from analysis.run import Run, phase

if TYPE_CHECKING:
    import pandas as pd

NOTED = {"code": "Code", "torch": "PyTorch", "python": "Python", "device": "Device"}
"""What a stage notes of itself, and its heading."""
INPUTS = {"data": "Data", "text_encoder": "Text encoder", "architecture": "Architecture"}
"""Of a cell's ``config.json``: digests and names of what it was made of."""


@dataclass(frozen=True)
class Recipe:
    """All fields of how cells were trained and measured, by dotted name."""

    parameters: int
    train_flops: float
    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Provenance:
    """``facts`` are headings with one value or more; ``when`` is the day, or the days, on which stages finished, empty if
    none is noted."""

    facts: tuple[tuple[str, tuple[str, ...]], ...]
    recipes: tuple[Recipe, ...]
    warnings: tuple[str, ...]
    when: str = ""


def provenance(run: Run, metrics: Mapping[str, Mapping[str, str]]) -> Provenance:
    """Gathered from plans and cells; ``metrics`` are the full names of metrics by dataset.

    Device time is the sum over cells of the seconds of a stage, each divided by the number of cells that shared it.
    """
    homes = [
        (cell.dataset, home) for state in ("done", "failed", "diverged") for cell, home in _cells(run, state)
    ]
    stages = [stage for _, home in homes for stage in _stages(home, run)]
    noted = {word: Counter(str(about[word]) for _, about in stages if about.get(word)) for word in NOTED}
    inputs = [(dataset, object_of(home / "config.json")) for dataset, home in homes]
    facts = {"Command": _commands(run), "Cells": _counts(run), "Seeds": _seeds(run)}
    facts |= {heading: tuple(sorted(noted[word])) for word, heading in NOTED.items()}
    facts |= {"Commit": _commits(run, set(noted["code"]))}
    facts |= {
        heading: _by_dataset((d, kept.get(word)) for d, kept in inputs) for word, heading in INPUTS.items()
    }
    facts |= {metric.upper(): _by_dataset(names.items()) for metric, names in metrics.items()}
    facts |= {"Device time": _times(stages), "Finished": _finished(stages)}
    facts |= {"Report": (f"flowbench {metadata.version('flowbench')}",)}
    warnings = tuple(
        f"The cells were made by {len(noted[word])} {what}: {', '.join(sorted(noted[word]))}."
        for word, what in (
            ("code", "versions of the code"),
            ("torch", "versions of PyTorch"),
            ("device", "kinds of device"),
        )
        if len(noted[word]) > 1
    )
    return Provenance(tuple((h, v) for h, v in facts.items() if v), _recipes(run), warnings, _days(stages))


def duration(seconds: float) -> str:
    """In the unit that suits: ``42 s``, ``3.2 min``, ``5.1 h``, ``12.0 days``."""
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.{0 if size == 1 else 1}f} {unit}"
    return f"{seconds / 86_400:.1f} days"


def _cells(run: Run, state: str) -> Iterator[tuple[Any, Path]]:
    for name in ("rank", "confirm"):
        for _, cell, home in run.cells(state, name):
            yield cell, home


def _stages(home: Path, run: Run) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What is noted of a cell's training and of its measuring."""
    yield "training", _part(object_of(home / "status.json"), "training")
    for evaluation in dict.fromkeys(m.evaluation for m in run.manifests):
        yield "measuring", _part(object_of(home / evaluation / "result.json"), "measuring")


def _part(kept: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = kept.get(name)
    return part if isinstance(part, dict) else {}


def _commands(run: Run) -> tuple[str, ...]:
    return tuple("python -m bench.grid " + shlex.join(m.command) for m in run.manifests)


def _commits(run: Run, codes: set[str]) -> tuple[str, ...]:
    """The commits that the cells' code came from, as the submissions noted them."""
    kept = [object_of(file) for file in sorted(run.path.glob("submissions/*/submission.json"))]
    found = {(str(k["code"]), str(k["commit"])) for k in kept if k.get("code") in codes and k.get("commit")}
    return tuple(sorted(f"{commit} (code {code})" if len(codes) > 1 else commit for code, commit in found))


def _counts(run: Run) -> tuple[str, ...]:
    """How many cells came to which end, by phase."""
    told = []
    for title, rows in _phases(run):
        cells = rows.drop_duplicates("cell" if "cell" in rows else ["formulation", "dataset", "seed"])
        counts = ", ".join(f"{n} {state}" for state, n in cells["status"].value_counts().items())
        told.append(title + counts)
    return tuple(told)


def _seeds(run: Run) -> tuple[str, ...]:
    return tuple(title + ", ".join(map(str, sorted(rows["seed"].unique()))) for title, rows in _phases(run))


def _phases(run: Run) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of the ranking and those of a confirmation, if there are any, and what stands before what is said of them."""
    for name, title in (("rank", ""), ("confirm", "confirmation: ")):
        rows = phase(run.frame, name)
        if len(rows):
            yield title, rows


def _by_dataset(pairs: Iterable[tuple[str, Any]]) -> tuple[str, ...]:
    """The values, with their datasets if they differ."""
    datasets: dict[str, set[str]] = {}
    for dataset, value in pairs:
        if value:
            datasets.setdefault(str(value), set()).add(dataset)
    if len(datasets) < 2:
        return tuple(datasets)
    return tuple(sorted(f"{value} ({', '.join(sorted(where))})" for value, where in datasets.items()))


def _times(stages: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[str, ...]:
    spent: dict[str, float] = {}
    for name, about in stages:
        if isinstance(about.get("seconds"), int | float):
            spent[name] = spent.get(name, 0.0) + about["seconds"] / max(1, int(about.get("pack") or 1))
    return tuple(f"{name} {duration(seconds)}" for name, seconds in spent.items())


def _finished(stages: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[str, ...]:
    times = sorted(str(about["finished"]) for _, about in stages if about.get("finished"))
    if not times:
        return ()
    first, last = (t.replace("T", " ").removesuffix("Z") + " UTC" for t in (times[0], times[-1]))
    return (last,) if first == last else (f"first stage {first}, last {last}",)


def _days(stages: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """``28 November 2026``, or the first and the last of several days."""
    days: set[date] = set()
    for _, about in stages:
        try:
            days.add(date.fromisoformat(str(about.get("finished"))[:10]))
        except ValueError:
            continue
    ends = dict.fromkeys((min(days), max(days))) if days else {}
    return " to ".join(f"{day.day} {day:%B %Y}" for day in ends)


def _recipes(run: Run) -> tuple[Recipe, ...]:
    """Those of the rows that are shown."""
    shown = set(run.frame["recipe"].dropna()) if "recipe" in run.frame else set()
    found: dict[str, Recipe] = {}
    for m in run.manifests:
        for recipe in m.recipes:
            if recipe.text in shown:
                fields = tuple((name, json.dumps(value)) for name, value in flat(recipe.text).items())
                found.setdefault(recipe.text, Recipe(recipe.parameters, recipe.train_flops, fields))
    return tuple(found.values())
