"""Formulations against a baseline (`comparisons.baseline`), written: as a table, and as a line each for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.comparisons.baseline import Comparison, Comparisons
from analysis.stats.sequential import MOST_SEEDS
from analysis.tables.table import Table, unmarked
from analysis.tables.wording import count, names
from bench.metrics.metric import Metric
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

LARGE = 10_000
"""From here on an e-value is not written out."""
SOONER = "a --margin that matters or more --samples may decide sooner"
OPTIONAL = ("e-value", "would need", "P(better)")
"""Columns that a narrow terminal goes without, the first first."""


def table(found: Comparisons, shown: Sequence[str] | None = None) -> Table:
    """A row for each metric and rival, or only the rivals that are ``shown``."""
    rows = [row for row in found.rows if shown is None or row.formulation in shown]
    frame = pd.DataFrame([{**vars(row), "lost": lost(row)} for row in rows])
    cells = pd.DataFrame(
        [
            {
                "formulation": row.formulation,
                "metric": found.metrics[row.metric].label,
                "difference": difference(row),
                "e-value": evidence(row.e_value),
                "P(better)": _probability(row.p_better),
                "verdict": verdict(row),
                "seeds": str(row.n),
                "would need": _needed(row),
            }
            for row in rows
        ]
    )
    decision = {"baseline": found.baseline, "primary": found.primary, "margin": found.margin}
    return unmarked(
        "comparisons",
        frame.astype({"seeds_needed": "Int64"}),
        cells,
        notes=_notes(found),
        optional=OPTIONAL,
        title=f"Against {found.baseline}",
        about={"compared": decision | {"level": found.level, "rivals": len(found.rivals)}},
    )


def _notes(found: Comparisons) -> list[str]:
    label, k = found.metrics[found.primary].label, len(found.rivals)
    better = {
        way: names([m.label for m in found.metrics.values() if m.direction == way], most=99)
        for way in dict.fromkeys(m.direction for m in found.metrics.values())
    }
    among = "" if k == 1 else f" among {k} rivals, {100 * found.each:.2g} % for each"
    notes = [
        f"difference: formulation minus {found.baseline}, paired by seed, of means over settings, with its interval; "
        + "; ".join(f"{way}: {labels}" for way, labels in better.items()),
        "interval: holds at all looks together, so that one may look after every seed and stop at any:"
        f" by {label} the probability of any false verdict is at most {100 * found.level:g} %{among},"
        " unless differences are strongly skewed;"
        " other metrics have intervals of the same level, each for itself",
        f"e-value: evidence against no difference; from {1 / found.each:,.4g} on the interval excludes 0",
        "P(better): posterior probability that the formulation is better; it bounds no rate of errors",
        "would need: seeds in all for a verdict, if mean and noise stay as they are",
    ]
    if found.margin is not None:
        notes.append(f"equivalent: the whole interval of {label} is within {margin(found)}")
    return [*notes, *found.stages]


def margin(found: Comparisons) -> str:
    """``±5 %``: of the primary metric."""
    metric: Metric = found.metrics[found.primary]
    return f"±{found.margin:g}{' %' if metric.scale == 'log' else ''}"


def difference(row: Comparison) -> str:
    """``-4.1 % [-15, +8.3]``; without an interval the estimate alone, of lost seeds nothing."""
    if row.lost or not row.n:
        return ""
    text = _signed(row.estimate) + (" %" if row.percent else "")
    return f"{text} [{_signed(row.low)}, {_signed(row.high)}]" if math.isfinite(row.low) else text


def _signed(value: float) -> str:
    """Two significant digits and a sign."""
    return f"{float(f'{value:.2g}'):+,g}" if value else "0"


def evidence(value: float) -> str:
    """An e-value with two digits."""
    if math.isnan(value):
        return ""
    return f"over {LARGE:,}" if value > LARGE else f"{float(f'{value:.2g}'):,g}"


def _probability(value: float) -> str:
    if math.isnan(value):
        return ""
    return "under 0.01" if value < 0.01 else "over 0.99" if value > 0.99 else f"{value:.2f}"


def _needed(row: Comparison) -> str:
    """Seeds in all, of a comparison that is undecided and has the two seeds that a forecast takes."""
    if row.settled or row.n < 2:
        return ""
    return f"over {MOST_SEEDS:,}" if row.seeds_needed is None else f"{row.seeds_needed:,}"


def verdict(row: Comparison) -> str:
    """The verdict, or why there is none."""
    return f"not compared: {lost(row)}" if row.lost else row.verdict


def lost(row: Comparison) -> str:
    """``diverged in 1 of 5 seeds``; of the baseline with its name."""
    return ", ".join(
        f"{'' if entry.formulation == row.formulation else entry.formulation + ' '}"
        f"{entry.state} in {entry.seeds} of {count(entry.of, 'seed')}"
        for entry in row.lost
    )
