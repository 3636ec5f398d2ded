"""From the cells of a run folder to one table, ``results.parquet``, which is made anew only where something changed.

One row per planned cell and control setting: the numbers of those that are measured; ``diverged``, ``failed`` or ``pending``
without numbers for the others. The table's metadata hold what the files of each cell looked like when they were read, so
that the next look reads those that changed. A folder that cannot be written is read all the same.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.runs import sources
from analysis.runs.declared import COMPARED
from bench.config import kept_weights
from bench.runfolder import measured
from bench.runfolder.manifest import Manifest, PlannedCell
from flowbench._core import atomic
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

RESULTS = "results.parquet"
VERSION = 6
"""Of the table and its metadata; another is made anew."""
KEPT = b"flowbench"
LOSSES = ("val_loss", "untrained_loss", "best_step")
"""What a cell's status holds of its training."""
FIRST = (
    "formulation", "dataset", "seed", "phase", "cell", "recipe", "parameters", "train_flops", "base", "sampler", "status",
    *LOSSES,
)  # fmt: skip
"""Columns that come first."""
Stamp = list[int]
"""Times and sizes of a cell's status and of its measurements; zeros for what is not there."""


def collect(folder: Path, manifests: Sequence[Manifest]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The table of all planned cells, and sentences about files that cannot be read, whose cells are ``pending``."""
    about, before = _kept(folder)
    plans = [m.digest for m in manifests]
    old = about["stamps"] if about.get("plans") == plans and about.get("version") == VERSION else {}
    stamps, changed, damaged = {}, [], []
    for m in manifests:
        for cell in m.cells:
            stamps[cell.id] = stamp = _stamp(folder / "cells" / cell.id, m.evaluation)
            if old.get(cell.id) != stamp:
                changed.append((m, cell))
    if not changed and old.keys() == stamps.keys() and before is not None:
        return before, ()
    rows: list[dict[str, Any]] = []
    for m, cell in changed:
        try:
            rows += cell_rows(folder, m, cell)
        except atomic.Damaged as error:
            damaged.append(str(error))
            del stamps[cell.id]  # looked at again the next time
            rows += _empty(m, cell, "pending")
    frame = pd.DataFrame(rows)
    if old and before is not None:
        again = {cell.id for _, cell in changed}
        frame = pd.concat([before[~before["cell"].isin(again)], frame], ignore_index=True)
    if not frame.empty:
        frame = in_order(frame, manifests)
        with suppress(OSError):  # a folder of another user
            _write(frame, folder / RESULTS, {"version": VERSION, "plans": plans, "stamps": stamps})
    return frame, tuple(damaged)


def in_order(frame: pd.DataFrame, manifests: Sequence[Manifest]) -> pd.DataFrame:
    """Rows as planned, and columns in one order, whatever was collected before."""
    rank = {cell: i for i, cell in enumerate(dict.fromkeys(cell.id for m in manifests for cell in m.cells))}
    first = [name for name in FIRST if name in frame]
    rows = frame.sort_values("cell", key=lambda cells: cells.map(rank), kind="stable", ignore_index=True)
    return rows[[*first, *sorted(map(str, frame.columns.difference(first)))]]


def cell_rows(folder: Path, m: Manifest, cell: PlannedCell) -> list[dict[str, Any]]:
    """The rows of one cell. Raises `flowbench._core.atomic.Damaged`."""
    home = folder / "cells" / cell.id
    file, result = home / "status.json", home / m.evaluation / "result.json"
    status = atomic.read_object(file, cure="") if file.exists() else {}
    if status.get("state") == "diverged":
        return _empty(m, cell, "diverged")
    if result.exists() and result.with_name("per_sample.safetensors").exists():
        losses = {name: status.get(name) for name in LOSSES}
        if not all(map(measured.is_number, losses.values())):
            raise atomic.Damaged(f"{file} has no number where one should be")
        found, common = measured.read(result), _common(m, cell) | {"status": "done"}
        early = _milestones(m, cell)
        log = sources.Folder(folder).validations(cell.id) if early else ()
        at = {line.get("step"): line.get("val_loss") for line in log}
        for reached in early.values():
            reached["val_loss"] = at.get(reached["best_step"])
        return [
            common
            | _numbers(losses | early.get(setting.weights, {}) | values)
            | asdict(setting)
            | found.names
            for setting, values in found.values.items()
        ]
    here = status.get("state") == "failed" or status.get("evaluation") == m.evaluation
    return _empty(m, cell, "failed" if status.get("error") and here else "pending")


def _milestones(m: Manifest, cell: PlannedCell) -> dict[str, dict[str, float | None]]:
    """What stands for weights of milestones instead of what is of the whole training: their step, and the operations up to
    it."""
    early = {s.weights: at for s in m.settings if (at := kept_weights.milestone(s.weights)) is not None}
    recipe = m.recipes[cell.recipe]
    steps = {name: kept_weights.step_of(at, recipe.steps) for name, at in early.items()}
    return {name: {"best_step": step, "train_flops": recipe.flops_at(step)} for name, step in steps.items()}


def _numbers(found: Mapping[str, Any]) -> dict[str, float]:
    """The same type whether or not some cells have no number."""
    return {name: math.nan if value is None else float(value) for name, value in found.items()}


def _common(m: Manifest, cell: PlannedCell) -> dict[str, Any]:
    recipe = m.recipes[cell.recipe]
    base, sampler = m.parts.get(cell.formulation, (cell.formulation, None))
    return {
        "formulation": cell.formulation,
        "dataset": cell.dataset,
        "seed": cell.seed,
        "phase": m.phase_of(cell),
        "cell": cell.id,
        "recipe": recipe.text,
        "parameters": recipe.parameters,
        "train_flops": recipe.train_flops,
        "base": base,
        "sampler": sampler,
    }


def _empty(m: Manifest, cell: PlannedCell, status: str) -> list[dict[str, Any]]:
    nothing = dict.fromkeys((*LOSSES, *COMPARED), math.nan)
    common, early = _common(m, cell) | {"status": status}, _milestones(m, cell)
    return [common | early.get(setting.weights, {}) | nothing | asdict(setting) for setting in m.settings]


def _stamp(home: Path, evaluation: str) -> Stamp:
    found: Stamp = []
    for name in ("status.json", f"{evaluation}/result.json", f"{evaluation}/per_sample.safetensors"):
        try:
            seen = os.stat(f"{home}/{name}")
            found += [seen.st_mtime_ns, seen.st_size]
        except OSError:
            found += [0, 0]
    return found


def _kept(folder: Path) -> tuple[dict[str, Any], pd.DataFrame | None]:
    """The table as it was left, and what was noted of it; nothing if it is damaged or was not made here."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(folder / RESULTS, page_checksum_verification=True)
        about = json.loads((table.schema.metadata or {})[KEPT])
        return about, table.to_pandas()
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return {}, None


def _write(frame: pd.DataFrame, path: Path, about: dict[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    noted = json.dumps(about, separators=(",", ":")).encode()
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), KEPT: noted})
    atomic.write_whole(path, lambda file: pq.write_table(table, file, write_page_checksum=True), sync=False)
