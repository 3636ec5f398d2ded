"""Everything about one formulation, for the card that its name opens."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.ranking.wide import Wide
from analysis.report import curves
from analysis.report.curves import Drawing
from analysis.report.failures import Cell, Failures
from analysis.report.pictures import Sheet
from analysis.report.table import Ranking, Row
from analysis.results import cells, declared, schema
from analysis.results.run import Run
from analysis.tables.table import margin
from bench.config.settings import ControlSetting
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")


@dataclass(frozen=True)
class Settings:
    """Means over seeds at every control setting, with the range of the seeds where there are several."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]


@dataclass(frozen=True)
class Card:
    """``id`` is the anchor; ``facts`` are the headings and texts of the ranking's columns."""

    id: str
    row: Row
    facts: tuple[tuple[str, str], ...]
    formula: str
    budget: Drawing | None
    levels: Drawing | None
    settings: Settings
    sheets: tuple[Sheet, ...]
    failures: tuple[tuple[str, Cell], ...]


def cards(
    run: Run,
    rows: pd.DataFrame,
    arrays: Wide,
    table: Ranking,
    sheets: Mapping[str, tuple[Sheet, ...]],
    failures: Failures,
) -> tuple[Card, ...]:
    """A card for each row of the table, in its order; ``rows`` are what was ranked, and ``arrays`` are made of them."""
    measured, profiles, losses = _Measured(arrays), cells.profiles(run), curves.losses(run, rows)
    leader = table.rows[0].formulation
    ids = anchors([row.formulation for row in table.rows])
    made = []
    for row in table.rows:
        name, profile = row.formulation, profiles.get(row.formulation)
        facts = tuple(
            (column.heading, entry.number + margin(entry.margin))
            for column, entry in zip(table.columns, row.entries, strict=True)
            if entry.number
        )
        made.append(
            Card(
                ids[name],
                row,
                facts,
                profile.formula if profile else "",
                curves.budget(name, profile) if profile else None,
                curves.levels(name, leader, losses) if losses else None,
                measured.of(name),
                sheets.get(name, ()),
                tuple(failures.of(name)),
            )
        )
    return tuple(made)


def anchors(names: Sequence[str]) -> dict[str, str]:
    """For each name an id of letters, digits, points and hyphens: ``card-edm-m1.20-1.20`` of ``edm(-1.20,1.20)``."""
    found: dict[str, str] = {}
    for name in names:
        text = re.sub(r"(?<![A-Za-z0-9])-(?=[\d.])", "m", name)
        text = "card-" + re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-")
        same = sum(other == text or other.startswith(f"{text}--") for other in found.values())
        found[name] = f"{text}--{same + 1}" if same else text
    return found


class _Measured:
    """The arrays of a run, and which of them are shown."""

    def __init__(self, table: Wide) -> None:
        self.table = table
        self.metrics = {"rank": ("front", 2)}
        """For each what it is called, and its decimals."""
        for name, metric in table.metrics.items():
            there = table.values.get(name, np.empty(0))
            if metric.level == "setting" and np.isfinite(there).any():
                values = pd.Series(there[np.isfinite(there)])
                self.metrics[name] = metric.label, declared.decimals(values, metric.digits)
        several = table.settings["dataset"].nunique() > 1
        rows: dict[tuple[str, ControlSetting], list[int]] = {}
        for i, key in enumerate(zip(table.settings["dataset"], schema.controls(table.settings), strict=True)):
            rows.setdefault(key, []).append(i)
        self.settings = []
        for (dataset, s), index in sorted(
            rows.items(), key=lambda item: (item[0][0], item[0][1].weights, item[0][1])
        ):
            told = f"{s.steps} {'step' if s.steps == 1 else 'steps'}, guidance {s.cfg:g}, {s.weights}"
            told += f", {s.method}" if s.method else ""
            self.settings.append((f"{dataset}, {told}" if several else told, index))

    def of(self, name: str) -> Settings:
        """One formulation's numbers."""
        column = self.table.names.index(name)
        shown = self.metrics.items()
        rows = [
            (title, tuple(_told(self.table.metric(m)[index, column], digits) for m, (_, digits) in shown))
            for title, index in self.settings
        ]
        return Settings(tuple(label for label, _ in self.metrics.values()), tuple(rows))


def _told(values: np.ndarray[tuple[int], np.dtype[np.float64]], digits: int) -> tuple[str, str]:
    """The mean of what is there, and the range if that is more than one value."""
    there = [float(v) for v in values if math.isfinite(v)]
    if not there:
        return "", ""
    mean, low, high = (f"{v:.{digits}f}" for v in (sum(there) / len(there), min(there), max(there)))
    return mean, f"{low} to {high}" if len(there) > 1 and low != high else ""
