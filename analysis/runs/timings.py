"""What a run has cost, from the seconds that its cells and its last command have noted."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.runs.run import Run
from analysis.runs.sources import json_of
from flowbench._core import atomic

TIMINGS = "timings.json"
"""Seconds by stage of the last command on this machine with all its workers, and the ``total`` that passed."""


def seconds_per_seed(run: Run) -> float | None:
    """Seconds that one more seed of all formulations and datasets takes, if it runs as the others did.

    The median over the seeds with most cells of ``sum(training / pack + measuring / pack)``, divided by how many workers
    were busy at a time. None for a table without its cells, for a run whose last command did not run here (only local
    commands note how many workers were busy), and where a cell has no timings.
    """
    by_seed: dict[int, list[float | None]] = {}
    for status in ("done", "diverged"):
        for m, cell in run.cells(status):
            by_seed.setdefault(cell.seed, []).append(_cell_seconds(run, cell.id, m.evaluation, status))
    busy = _workers_busy(run.path / TIMINGS)
    if not by_seed or busy is None:
        return None
    most = max(map(len, by_seed.values()))
    whole = [parts for parts in by_seed.values() if len(parts) == most]
    sums = [sum(p for p in parts if p is not None) for parts in whole if None not in parts]
    return statistics.median(sums) / busy if sums else None


def pack_of(run: Run, cell: str) -> int | None:
    """How many trainings shared a cell's seconds; None where that is not noted."""
    trained = json_of(run.source, cell, "status.json").get("training")
    return int(trained["pack"]) if isinstance(trained, Mapping) and _part(trained) is not None else None


def _cell_seconds(run: Run, cell: str, evaluation: str, status: str) -> float | None:
    """A cell's part of the seconds of its pack, of training and, unless it diverged, of measuring."""
    spent = _part(json_of(run.source, cell, "status.json").get("training"))
    if status == "diverged" or spent is None:
        return spent
    measured = _part(json_of(run.source, cell, f"{evaluation}/result.json").get("measuring"))
    return None if measured is None else spent + measured


def _part(stage: Any) -> float | None:
    if not isinstance(stage, Mapping):
        return None
    seconds, pack = stage.get("seconds"), stage.get("pack")
    if not isinstance(seconds, int | float) or not isinstance(pack, int) or seconds < 0 or pack < 1:
        return None
    return seconds / pack


def _workers_busy(file: Path) -> float | None:
    """The mean number of workers at a time, at least 1."""
    spent = atomic.known_object(file)
    parts = [s for name, s in spent.items() if name != "total" and isinstance(s, int | float)]
    total = spent.get("total")
    if not isinstance(total, int | float) or total <= 0:
        return None
    return max(1.0, sum(parts) / total)
