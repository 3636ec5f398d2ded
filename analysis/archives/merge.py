"""Several archives of one study, each of some of its seeds, as the one archive of all seeds (`analysis.archive`).

Of a cell that several have, the one that is finished is taken, and of finished ones the first; their numbers must be equal
but for rounding, which depends on where a cell was trained: the machine, `--pack`, `--replicas`, `--accumulate`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.archives import bundle, joint_plan
from analysis.ranking import ideal_columns
from analysis.runs import collect, run, timings
from analysis.runs.declared import metrics_of
from analysis.runs.run import REAL_SCORES, Run
from analysis.runs.sources import PROVENANCE, Archive, json_of
from bench.config.sampling_settings import CONTROL, Setting
from bench.runfolder import manifest
from bench.runfolder.manifest import FILES, Manifest, PlannedCell
from flowbench._core import atomic
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

GRID, CONFIRM = FILES["rank"], FILES["confirm"]
LEVELS = {"pending": 0, "failed": 1, "diverged": 2, "done": 2}
"""How far a cell came; numbers of those of the highest level are final."""
ROUNDING = {"rel_tol": 1e-2, "abs_tol": 1e-3}
"""Results of one cell that are this close differ by rounding, which a training amplifies: between one micro-batch and two,
300 steps on digits changed FID by 2e-4 of its value and the validation loss by 2e-6."""


@dataclass(frozen=True, eq=False)
class Part:
    """An archive: ``name`` is what its user calls it, ``run`` what is read of it."""

    name: str
    run: Run

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The results table as it is kept, with every field of a control setting: a later version may have added some."""
        kept = pd.read_parquet(self.run.path / collect.RESULTS)
        later = [name for name in CONTROL if name not in kept]
        return kept.assign(**{name: str(getattr(Setting, name)) for name in later})

    @property
    def metrics(self) -> set[str]:
        """The metrics that it has values of."""
        return {metric.name for metric in metrics_of(self.run.manifests[0]) if metric.name in self.frame}

    @cached_property
    def rows(self) -> Mapping[str, pd.DataFrame]:
        """The rows of the results table by cell."""
        return {str(cell): rows for cell, rows in self.frame.groupby("cell", sort=False)}

    @property
    def seeds(self) -> set[int]:
        """The seeds of its plan."""
        return {cell.seed for cell in self.run.manifests[0].cells}

    def document(self, name: str) -> dict[str, Any]:
        """A JSON file of the archive; empty if it has none."""
        return atomic.known_object(self.run.path / name)


def write(parts: Sequence[Part], out: Path, without: Collection[str] = ()) -> None:
    """Write the data files of one archive of all ``parts`` into an empty folder, those with the first seeds first; leave
    out what is ``without``, or left out of a part already.

    Raises `UserError` for parts that differ in more than their seeds (`joint_plan.check`), that have measured one cell
    differently, whose cells had other inputs, or that have two confirmations, and for seeds with a gap.
    """
    parts = sorted(parts, key=lambda part: (min(part.seeds), -len(part.seeds)))
    joint_plan.check({part.name: part.run.manifests[0] for part in parts})
    confirmed = [part for part in parts if part.document(CONFIRM)]
    for other in confirmed[1:]:
        if other.document(CONFIRM) != confirmed[0].document(CONFIRM):
            raise UserError(
                f"{confirmed[0].name!r} and {other.name!r} each have a confirmation: name only one of them"
            )
    check_inputs(parts)
    taken = _taken(parts)
    used = [part for part, ids in zip(parts, taken, strict=True) if ids]
    documents = {GRID: parts[0].document(GRID)}
    if len(parts) > 1:
        documents = {GRID: joint_plan.joined([part.run.manifests[0] for part in parts], taken).json()}
    documents[CONFIRM] = confirmed[0].document(CONFIRM) if confirmed else {}
    documents[REAL_SCORES] = joint_plan.real_images({part.name: part.document(REAL_SCORES) for part in parts})
    documents[timings.TIMINGS] = _sum([part.document(timings.TIMINGS) for part in used])
    documents[ideal_columns.FILE] = next(
        filter(None, (part.document(ideal_columns.FILE) for part in parts)), {}
    )
    for name, document in documents.items():
        if document:
            bundle.write_object(out / name, document)
    plans = tuple(manifest.read(out))
    unequal = _unequal_metrics(used)
    frames = [part.frame[part.frame["cell"].isin(ids)] for part, ids in zip(parts, taken, strict=True) if ids]
    rows = pd.concat(frames, ignore_index=True).drop(columns=unequal, errors="ignore")
    frame = collect.in_order(rows, plans)
    bundle.write_table(frame, out / collect.RESULTS)
    source = Merged(parts, taken)
    bundle.write_texts(Run(frame, {}, path=out, manifests=plans, source=source), out)
    already = {*without, *(text for part in used for text in part.document(PROVENANCE).get("left_out", []))}
    if unequal:
        already.add(bundle.LEFT_OUT_METRICS)
    bundle.write_values(replace(run.read(out), source=source), out, already)


def _unequal_metrics(parts: Sequence[Part]) -> list[str]:
    """The columns of metrics that only some parts have values of, as a later version has more: no seed may be without."""
    found = [part.metrics for part in parts]
    unequal = set[str]().union(*found) - found[0].intersection(*found)
    return [f"{name}{suffix}" for name in sorted(unequal) for suffix in ("", "_stderr", "_name")]


def check_inputs(parts: Sequence[Part]) -> None:
    """Raise `UserError` for two parts whose cells were trained or measured with something else of the same name."""
    known: dict[tuple[str, str, int], tuple[Part, Any]] = {}
    for part in parts:
        for plan in part.run.manifests:
            for cell in plan.cells:
                for what, value in _inputs(part, plan, cell):
                    owner, before = known.setdefault((plan.phase, what, cell.recipe), (part, value))
                    if owner is not part and not _same(before, value):
                        raise UserError(
                            f"{owner.name!r} and {part.name!r} cannot be one archive, as {what} differs: name only one"
                        )


def _inputs(part: Part, plan: Manifest, cell: PlannedCell) -> Iterator[tuple[str, Any]]:
    """What a cell depends on beyond names, as far as an archive has it; of a solver that is not our own its text."""
    config = json_of(part.run.source, cell.id, "config.json")
    measured = json_of(part.run.source, cell.id, f"{plan.evaluation}/result.json")
    found = {
        f"the data of {cell.dataset}": config.get("data"),
        "the text encoder": config.get("text_encoder"),
    }
    found |= {"the network": config.get("architecture"), cell.formulation: config.get("coefficients")}
    found |= {f"the solver {name}": text for name, text in measured.get("solvers", {}).items()}
    yield from ((what, value) for what, value in found.items() if value is not None)


def _same(one: Any, other: Any) -> bool:
    """Numbers as close as two machines compute them."""
    if isinstance(one, list) and isinstance(other, list):
        a, b = (np.asarray(numbers, dtype=np.float64) for numbers in (one, other))
        return a.shape == b.shape and np.allclose(a, b, rtol=1e-4, atol=1e-6, equal_nan=True)
    return bool(one == other)


def _taken(parts: Sequence[Part]) -> list[set[str]]:
    """The ids of the cells that are taken of each part. Raises `UserError` for a cell with two results."""
    best: dict[tuple[Any, ...], tuple[int, str, int]] = {}
    for i, part in enumerate(parts):
        for plan in part.run.manifests:
            for cell in plan.cells:
                key = (plan.phase, cell.formulation, cell.dataset, cell.seed, cell.recipe)
                level = LEVELS[part.rows[cell.id]["status"].iloc[0]]
                before, known, owner = best.setdefault(key, (level, cell.id, i))
                if level == before == LEVELS["done"]:
                    _check_equal(parts[owner], known, part, cell)
                if level > before:
                    best[key] = (level, cell.id, i)
    taken = [set[str]() for _ in parts]
    for _, known, owner in best.values():
        taken[owner].add(known)
    return taken


def _check_equal(one: Part, known: str, other: Part, cell: PlannedCell) -> None:
    """Raise `UserError` unless two parts have the same results of a cell, but for :data:`ROUNDING`."""
    if one is other:
        return
    tables = [part.rows[name].set_index(list(CONTROL)) for part, name in ((one, known), (other, cell.id))]
    for column in tables[0].columns.intersection(tables[1].columns).difference(["cell"]):
        first, second = (table[column].to_dict() for table in tables)
        for setting in first | second:
            values = first.get(setting), second.get(setting)
            if not joint_plan.close(*values, **ROUNDING) and not all(map(pd.isna, values)):
                raise UserError(
                    f"{one.name!r} and {other.name!r} hold different results of {cell.formulation} on {cell.dataset}, seed "
                    f"{cell.seed}: {column} is {values[0]} and {values[1]}; name only one of them"
                )


def _sum(spent: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The seconds of several commands by stage."""
    names = dict.fromkeys(name for seconds in spent for name in seconds)
    return {name: round(sum(seconds.get(name, 0.0) for seconds in spent), 3) for name in names}


class Merged(Archive):
    """The cells that are ``taken`` of each part, and the real images of all."""

    def __init__(self, parts: Sequence[Part], taken: Sequence[set[str]]) -> None:
        super().__init__(parts[0].run.path)
        self._parts = [(Archive(part.run.path), ids) for part, ids in zip(parts, taken, strict=True)]
        self._cells = {cell.id for part in parts for plan in part.run.manifests for cell in plan.cells}

    def commits(self) -> set[tuple[str, str]]:
        """See `analysis.runs.sources.Source`."""
        return {commit for part, ids in self._parts if ids for commit in part.commits()}

    def table(self, name: str, columns: Sequence[str]) -> pd.DataFrame:
        """A table of all parts; what belongs to no cell, as real images do, is of any."""
        found = []
        for part, ids in self._parts:
            rows = part.table(name, columns)
            found.append(rows[rows[columns[0]].isin(ids | (set(rows[columns[0]]) - self._cells))])
        there = [rows for rows in found if len(rows)]
        return pd.concat(there, ignore_index=True) if there else found[0]
