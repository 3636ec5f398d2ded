"""Where the numbers come from: commands, code, versions, devices, time and recipes; no names of hosts."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any

from analysis.runs import recipe_fields, schema
from analysis.runs.run import Run
from analysis.runs.sources import json_of
from analysis.scaling import is_scaling
from bench.runfolder import manifest
from bench.runfolder.manifest import PlannedCell
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

NOTED = {"code": "Code", "torch": "PyTorch", "python": "Python", "device": "Device", "threads": "Threads"}
"""What a stage notes of itself, and its heading."""
SEVERAL = {"code": "versions of the code", "torch": "versions of PyTorch", "device": "kinds of device"}
"""Of these, several in one run deserve a warning."""
INPUTS = {"data": "Data", "text_encoder": "Text encoder", "architecture": "Architecture"}
"""Of a cell's ``config.json``: digests and names of what it was made of."""


@dataclass(frozen=True)
class Recipe:
    """All fields of how cells were trained and measured, by dotted name; of several sizes, those of all."""

    size: str
    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Provenance:
    """``facts`` are headings with one value or more; ``when`` is the day, or the days, on which stages finished, empty if
    none is noted. ``device_seconds`` are by stage the sum over cells, each divided by the cells that shared it;
    ``wall_seconds`` is how long at least one cell was at a stage."""

    facts: tuple[tuple[str, tuple[str, ...]], ...]
    recipes: tuple[Recipe, ...]
    warnings: tuple[str, ...]
    when: str = ""
    device_seconds: Mapping[str, float] = field(default_factory=dict)
    wall_seconds: float = 0.0


def provenance(run: Run, metrics: Mapping[str, Mapping[str, str]]) -> Provenance:
    """Read the origin from plans and cells; ``metrics`` are the full names of metrics by dataset."""
    cells = [
        cell
        for state in ("done", "failed", "diverged")
        for phase in schema.PHASES
        for _, cell in run.cells(state, phase)
    ]
    stages = _stages(run, cells)
    noted = {word: tuple(sorted({str(v) for v in stages[word].dropna() if v})) for word in NOTED}
    inputs = [(cell.dataset, json_of(run.source, cell.id, "config.json")) for cell in cells]
    spent, wall, ends = _device_seconds(stages), _wall_seconds(stages), stages["end"].dropna()
    facts = {"Command": _commands(run), "Cells": _counts(run), "Seeds": _seeds(run)}
    facts |= {heading: noted[word] for word, heading in NOTED.items()}
    facts |= {"Commit": _commits(run, set(noted["code"]))}
    facts |= {
        heading: _by_dataset((d, kept.get(word)) for d, kept in inputs) for word, heading in INPUTS.items()
    }
    facts |= {metric.upper(): _by_dataset(names.items()) for metric, names in metrics.items()}
    facts |= {"Device time": tuple(f"{name} {duration(seconds)}" for name, seconds in spent.items())}
    facts |= {"Wall time": (duration(wall),) if wall else (), "Finished": _finished(ends)}
    facts |= {"Report": (f"flowbench {metadata.version('flowbench')}",)}
    warnings = tuple(
        f"The cells were made by {len(noted[word])} {what}: {', '.join(noted[word])}."
        for word, what in SEVERAL.items()
        if len(noted[word]) > 1
    )
    shown = tuple((heading, values) for heading, values in facts.items() if values)
    return Provenance(shown, _recipes(run), warnings, days(ends), spent, wall)


def duration(seconds: float) -> str:
    """In the unit that suits: ``42 s``, ``3.2 min``, ``5.1 h``, ``12.0 days``."""
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.{0 if size == 1 else 1}f} {unit}"
    return f"{seconds / 86_400:.1f} days"


def _stages(run: Run, cells: Sequence[PlannedCell]) -> pd.DataFrame:
    """What is noted of the cells' trainings and measurements: a row each with its ``stage``, the ``seconds`` that it took,
    how many cells shared them (``pack``), on how many devices (``replicas``), its ``end`` and the columns of `NOTED`."""
    results = [
        f"{evaluation}/result.json" for evaluation in dict.fromkeys(m.evaluation for m in run.manifests)
    ]
    files = [("training", "status.json"), *(("measuring", name) for name in results)]
    rows = []
    for cell in cells:
        for stage, name in files:
            noted = json_of(run.source, cell.id, name).get(stage)
            rows.append({**(noted if isinstance(noted, dict) else {}), "stage": stage})
    found = pd.DataFrame(
        rows, columns=["stage", "seconds", "pack", "replicas", "finished", *NOTED], dtype=object
    )
    counts = {
        name: pd.to_numeric(found[name], errors="coerce").fillna(1).clip(lower=1)
        for name in ("pack", "replicas")
    }
    return found.assign(
        seconds=pd.to_numeric(found["seconds"], errors="coerce"),
        **counts,
        end=pd.to_datetime(found["finished"], errors="coerce", utc=True),
    )


def _commands(run: Run) -> tuple[str, ...]:
    commands = (command for m in run.manifests for command in m.commands)
    return tuple(f"python -m {program} {shlex.join(options)}" for program, options in commands)


def _commits(run: Run, codes: set[str]) -> tuple[str, ...]:
    """The commits that the cells' code came from, as the submissions noted them."""
    found = {(code, commit) for code, commit in run.source.commits() if code in codes}
    return tuple(sorted(f"{commit} (code {code})" if len(codes) > 1 else commit for code, commit in found))


def _counts(run: Run) -> tuple[str, ...]:
    """How many cells came to which end, by phase."""
    found = []
    for title, rows in _phases(run):
        cells = rows.drop_duplicates("cell" if "cell" in rows else ["formulation", "dataset", "seed"])
        counts = ", ".join(f"{n} {state}" for state, n in cells["status"].value_counts().items())
        found.append(title + counts)
    return tuple(found)


def _seeds(run: Run) -> tuple[str, ...]:
    return tuple(title + ", ".join(map(str, sorted(rows["seed"].unique()))) for title, rows in _phases(run))


def _phases(run: Run) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of the ranking, of a race's later seeds and of a confirmation, if there are any, each after its title."""
    for name, title in (("rank", ""), ("race", "race: "), ("confirm", "confirmation: ")):
        rows = run.phase(name).frame
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


def _device_seconds(stages: pd.DataFrame) -> dict[str, float]:
    each = stages["seconds"] * stages["replicas"] / stages["pack"]
    spent = each.groupby(stages["stage"], sort=False).sum(min_count=1).dropna()
    return {str(name): round(float(seconds), 1) for name, seconds in spent.items()}


def _wall_seconds(stages: pd.DataFrame) -> float:
    """The length of the union of the stages' intervals ``[end - seconds, end]``."""
    known = stages.dropna(subset=["seconds", "end"])
    spans = pd.DataFrame(
        {"begin": known["end"] - pd.to_timedelta(known["seconds"], unit="s"), "end": known["end"]}
    )
    spans = spans.sort_values(["begin", "end"])
    before = spans["end"].cummax().shift()
    covered = spans["end"] - spans["begin"].where(~(spans["begin"] < before), before)
    return round(float(covered.dt.total_seconds().clip(lower=0).sum()), 1)


def days(ends: pd.Series[Any]) -> str:
    """``2 January 2026``, ``2 to 4 January 2026``, ``30 January 2026 to 1 February 2026``."""
    if ends.empty:
        return ""
    first, last = (time.date() for time in (ends.min(), ends.max()))
    whole = f"{last.day} {last:%B %Y}"
    if first == last:
        return whole
    alike = (first.year, first.month) == (last.year, last.month)
    return f"{first.day}{'' if alike else f' {first:%B %Y}'} to {whole}"


def _finished(ends: pd.Series[Any]) -> tuple[str, ...]:
    if ends.empty:
        return ()
    first, last = (f"{time:%Y-%m-%d %H:%M:%S} UTC" for time in (ends.min(), ends.max()))
    return (last,) if first == last else (f"first stage {first}, last {last}",)


def _recipes(run: Run) -> tuple[Recipe, ...]:
    """Those of the cells that are shown."""
    shown = set(run.frame["cell"]) if "cell" in run.frame else set()
    found: dict[str, manifest.Recipe] = {}
    for m in run.manifests:
        used = {cell.recipe for cell in m.cells if cell.id in shown}
        found |= {recipe.text: recipe for i, recipe in enumerate(m.recipes) if i in used}
    groups = [list(found.values())] if is_scaling(run) else [[recipe] for recipe in found.values()]
    return tuple(map(_shown, filter(None, groups)))


def _shown(recipes: Sequence[manifest.Recipe]) -> Recipe:
    """One recipe, or several that differ in size, with all values of the fields that differ."""
    differing = recipe_fields.differing([recipe.text for recipe in recipes])
    fields = {
        name: ", ".join(map(json.dumps, differing.get(name, [value])))
        for name, value in recipe_fields.flat(recipes[0].text).items()
    }
    ends = (min, max) if len(recipes) > 1 else (min,)
    parameters = " to ".join(f"{end(r.parameters for r in recipes):,}" for end in ends)
    operations = " to ".join(f"{end(r.train_flops for r in recipes):.2g}" for end in ends)
    return Recipe(f"{parameters} parameters, {operations} operations a training", tuple(fields.items()))
