"""Everything about one formulation, for the card that its name opens."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analysis.ranking.score_matrix import Wide
from analysis.report import sparklines
from analysis.report.failures import Cell, Failures
from analysis.report.gallery import Sheet
from analysis.report.page_table import Ranking, Row
from analysis.report.sparklines import Drawing
from analysis.runs import cell_contents, declared, schema
from analysis.runs.run import Run
from analysis.tables.table import margin
from analysis.tables.wording import count
from bench.config.sampling_settings import ControlSetting
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
    measured, profiles, losses = _measured(arrays), cell_contents.profiles(run), sparklines.losses(run, rows)
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
                sparklines.budget(name, profile) if profile else None,
                sparklines.levels(name, leader, losses) if losses else None,
                measured(name),
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


def _measured(table: Wide) -> Callable[[str], Settings]:
    """Write one formulation's numbers, by its name, in the settings and the metrics that any has."""
    metrics = {"rank": ("front", 2)}
    for name, metric in table.metrics.items():
        values = table.values.get(name, np.empty(0))
        there = values[np.isfinite(values)]
        if metric.level == "setting" and len(there):
            metrics[name] = metric.label, declared.decimals(pd.Series(there), metric.digits)
    rows: dict[tuple[str, ControlSetting], list[int]] = {}
    for i, key in enumerate(zip(table.settings["dataset"], schema.controls(table.settings), strict=True)):
        rows.setdefault(key, []).append(i)
    several = table.settings["dataset"].nunique() > 1
    settings = {}
    for dataset, s in sorted(rows, key=lambda key: (key[0], key[1].weights, key[1])):
        title = f"{dataset}, " if several else ""
        title += f"{count(s.steps, 'step')}, guidance {s.cfg:g}, {s.weights}"
        settings[title + (f", {s.method}" if s.method else "")] = rows[dataset, s]

    def of(name: str) -> Settings:
        column = table.names.index(name)
        shown = tuple(
            (
                title,
                tuple(_range(table.metric(m)[index, column], digits) for m, (_, digits) in metrics.items()),
            )
            for title, index in settings.items()
        )
        return Settings(tuple(label for label, _ in metrics.values()), shown)

    return of


def _range(values: NDArray[np.float64], digits: int) -> tuple[str, str]:
    """The mean of the finite values, and their range if they differ."""
    there = [float(v) for v in values if math.isfinite(v)]
    if not there:
        return "", ""
    mean, low, high = (f"{v:.{digits}f}" for v in (sum(there) / len(there), min(there), max(there)))
    return mean, f"{low} to {high}" if low != high else ""
