"""The scaling of a run folder, as frames and as tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.runs import declared
from analysis.runs.run import Run
from analysis.scaling import correlation, efficiency, fits, frontier
from analysis.scaling.fits import Frontier
from analysis.scaling.noise import Means, means
from analysis.scaling.numbers import number, power, span
from analysis.scaling.scaling_runs import Runs, collect
from analysis.tables.table import Table, fixed
from analysis.tables.wording import count
from bench.metrics.metric import Metric
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

Writer = Callable[[Mapping[Hashable, Any]], str]
"""Writes a cell, given the row of its frame."""
CHANCE = 0.1
"""Percent of random orders that agree in full; fewer are no reason to doubt a correlation."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """``runs`` are what is analysed and ``means`` their metrics over seeds, on the scale of the noise model.

    ``table``: one row for each run with ``depth``, ``steps``, ``parameters``, ``train_flops``, ``seeds``, each metric of
    `analysis.scaling.scaling_runs.METRICS` with ``_low`` and ``_high``, and ``frontier``: whether its loss is the lowest at
    its compute. ``laws`` is `analysis.scaling.fits.table`, ``optimal`` `analysis.scaling.frontier.optimal`, ``correlations``
    and ``efficiency`` the ``table`` of their modules.
    """

    runs: Runs
    metrics: Mapping[str, Metric]
    means: dict[str, Means]
    frontier: Frontier
    table: pd.DataFrame
    laws: pd.DataFrame
    optimal: pd.DataFrame
    correlations: pd.DataFrame
    efficiency: pd.DataFrame
    efficiency_notes: tuple[str, ...]

    @property
    def drawn(self) -> bool:
        """Whether there are intervals."""
        return self.means["val_loss"].draws is not None

    def tables(self) -> list[Table]:
        """Runs, laws, compute-optimal depth, correlations and sampling efficiency. The notes of a table without rows follow
        those of the first."""
        made = [_runs(self), _laws(self), _optimal(self), _correlations(self), _efficiency(self)]
        empty = [f"{table.title}: {note}" for table in made if table.frame.empty for note in table.notes]
        first = replace(made[0], notes=[*made[0].notes, *empty])
        return [first, *(table for table in made[1:] if len(table.frame))]


def report(*found: Run) -> Scaling:
    """Analyse the scaling of a run folder, or of several as one. Raises `UserError` as
    `analysis.scaling.scaling_runs.collect` does."""
    runs = collect(*found)
    metrics = found[0].metrics
    averages = means(runs.values, {m for m in runs.values if metrics[m].scale == "log"})
    loss = averages["val_loss"]
    curve = fits.frontier(runs, loss)
    rows, notes = efficiency.table(runs)
    return Scaling(
        runs=runs,
        metrics=metrics,
        means=averages,
        frontier=curve,
        table=_table(runs, metrics, averages, curve),
        laws=fits.table(runs, loss, curve),
        optimal=frontier.optimal(runs, loss),
        correlations=correlation.table(averages),
        efficiency=rows,
        efficiency_notes=tuple(notes),
    )


def _table(
    runs: Runs, metrics: Mapping[str, Metric], found: dict[str, Means], curve: Frontier
) -> pd.DataFrame:
    table = runs.table.assign(seeds=found["val_loss"].seeds)
    for metric, mean in found.items():
        scale = metrics[metric].scale
        for end, values in (("", mean.values), ("_low", mean.low), ("_high", mean.high)):
            kept = np.full(len(table), np.nan) if values is None else values
            table[metric + end] = np.exp(kept) if mean.log else kept.clip(0, 1) if scale == "share" else kept
    return table.assign(frontier=curve.on)


def _made(
    name: str,
    title: str,
    frame: pd.DataFrame,
    columns: Mapping[str, Writer],
    notes: list[str],
    optional: tuple[str, ...],
) -> Table:
    """A table without marks, whose ``columns`` map headings to how a cell is written."""
    rows, name = frame.to_dict("records"), f"scaling_{name}"
    cells = pd.DataFrame(
        {heading: [write(row) for row in rows] for heading, write in columns.items()}, dtype=object
    )
    none = pd.DataFrame(False, index=cells.index, columns=cells.columns)
    return Table(name, frame, cells, none, none, none, notes, optional, title, {f"{name}_notes": notes})


def _of(name: str, write: Callable[[Any], str] = str) -> Writer:
    """Writes the entry of a column."""
    return lambda row: write(row[name])


def _spans(name: str, digits: int) -> Writer:
    """Writes the entry of a column with its interval."""
    return lambda row: span(row, name, digits)


def _runs(found: Scaling) -> Table:
    frame, runs, metrics = found.table, found.runs, found.metrics
    columns = {
        "depth": _of("depth"),
        "steps": _of("steps"),
        "parameters": _of("parameters", number),
        "FLOPs": _of("train_flops", number),
        "seeds": _of("seeds"),
        **{metrics[m].label: _spans(m, declared.decimals(frame[m], metrics[m].digits)) for m in found.means},
        "frontier": _of("frontier", lambda on: "*" if on else ""),
    }
    notes = [
        *runs.notes,
        "val loss: of a training's best checkpoint; FLOPs: of the whole training",
        "*: on the frontier, nothing has a lower loss at that compute or at less",
    ]
    if found.drawn:
        notes.append(
            f"in brackets: 95 % over {count(len(runs.seeds), 'seed')}, whose luck all runs share: "
            f"differences of runs are surer than these"
        )
        if frame["val_loss_low"].isna().any():
            notes.append(
                "no interval where a run lacks a seed; its mean is corrected for the luck of that seed"
            )
    else:
        notes.append("no intervals: they need two runs that share two seeds")
    quality = [metrics[metric].label for metric in found.means if metric != "val_loss"]
    title = f"Scaling of {runs.formulation} on {runs.dataset}"
    return _made("runs", title, frame, columns, notes, ("parameters", "seeds", *reversed(quality)))


def _laws(found: Scaling) -> Table:
    law, notes = found.frontier.law, []
    columns = {
        "loss against": _of("against"),
        "runs": _of("runs"),
        "range": lambda row: f"{number(row['start'])} to {number(row['end'])}",
        "alpha": _spans("alpha", 3),
    }
    if law is not None:
        columns |= {"E": _spans("e", 4), "A": _spans("a", 4)}
        notes.append(
            f"on the frontier L = E + A (C / {power(law.x0)})^-alpha, C in FLOPs; "
            f"root mean square error {100 * float(law.error):.2g} %"
        )
    if found.laws["a"].isna().any():
        notes.append(
            "without E: L = c x^-alpha, a straight line in logarithms, a slope of that range and not a law"
        )
    if found.drawn:
        notes.append(
            "in brackets: 95 % over other seeds, each with its own frontier (parametric bootstrap); they do not cover "
            "that the law may be wrong, or hold for this recipe only"
        )
    notes += found.frontier.warnings
    return _made("laws", "Laws of the validation loss", found.laws, columns, notes, ("A", "E", "range"))


def _optimal(found: Scaling) -> Table:
    percent = fixed(0, percent=True)

    def rival(row: Mapping[Hashable, Any]) -> str:
        return "" if np.isnan(row["rival"]) else f"{row['rival']:.0f} ({percent(row['rival_frequency'])})"

    columns = {
        "FLOPs": _of("train_flops", power),
        "depth": _of("depth"),
        "val loss": _of("val_loss", fixed(4)),
        "best in": _of("frequency", percent),
        "else depth": rival,
        "of depths": _of("compared"),
    }
    notes = ["between the runs of a depth the loss is interpolated in logarithms, and nowhere extrapolated"]
    notes += ["best in: share of draws of other seeds"] if found.drawn else []
    if found.optimal.empty:
        notes = [
            "no compute is reached by two depths: train a depth longer, or its neighbour for fewer steps"
        ]
    optional = ("of depths", "else depth")
    return _made("optimal", "Compute-optimal depth", found.optimal, columns, notes, optional)


def _correlations(found: Scaling) -> Table:
    frame, notes = found.correlations, ["a correlation needs three runs with another metric"]
    columns = {
        "val loss with": _of("metric", lambda name: found.metrics[name].label),
        "runs": _of("runs"),
        "Spearman": _spans("spearman", 2),
        "Pearson of logs": _spans("pearson", 2),
    }
    if len(frame) and found.drawn:
        notes = [
            "in brackets: 95 % interval of the correlation of the true means; noise lowers a measured one"
        ]
    elif len(frame):
        fewest = int(frame["runs"].min())
        chance = 200 / math.factorial(fewest)
        notes = ["no intervals"]
        if chance >= CHANCE:
            notes = [
                f"no intervals; of {fewest} runs in random order {chance:.2g} % have a Spearman correlation of 1 or -1"
            ]
    optional = ("Pearson of logs", "runs")
    return _made("correlations", "Validation loss and quality", frame, columns, notes, optional)


def _efficiency(found: Scaling) -> Table:
    frame, notes = found.efficiency, list(found.efficiency_notes)
    columns = {"depth": _of("depth"), "source": _of("source")}
    for name in frame.columns:
        if name.startswith("drop_") and name.count("_") == 1:
            columns[f"{name.removeprefix('drop_')} steps (%)"] = _spans(name, 2)
    ours = frame[frame["source"] == efficiency.OURS]
    if found.drawn and ours.filter(regex="_low$").isna().any(axis=None):
        notes.append("no interval where a depth lacks a seed")
    if "path_length" in frame:
        columns["path length"] = _spans("path_length", 2)
        notes.append("path lengths of the paper are in its latent space: only the order over depths compares")
    optional = tuple(reversed(list(columns)[3:]))
    return _made("efficiency", "CLIP score lost with fewer sampling steps", frame, columns, notes, optional)
