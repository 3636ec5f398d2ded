"""All that is said about the scaling of a run folder, as frames and as tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from analysis.results import declared
from analysis.results.run import Run
from analysis.scaling import correlation, efficiency, fits, frontier
from analysis.scaling.fits import Frontier
from analysis.scaling.noise import Means, means
from analysis.scaling.runs import Runs, collect
from analysis.scaling.wording import number, percent, power, span
from analysis.tables.table import Table
from analysis.tables.wording import count
from bench.metrics.base import Metric
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")


@dataclass(frozen=True, eq=False)
class Scaling:
    """``runs`` are what is analysed and ``means`` their metrics over seeds, on the scale of the noise model.

    ``table``: one row for each run with ``depth``, ``steps``, ``parameters``, ``train_flops``, ``seeds``, each metric of
    `analysis.scaling.runs.METRICS` with ``_low`` and ``_high``, and ``frontier``: whether its loss is the lowest at its
    compute. ``laws`` is `analysis.scaling.fits.table`, ``optimal`` `analysis.scaling.frontier.optimal`, ``correlations`` and
    ``efficiency`` the ``table`` of their modules.
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
        """Runs, laws, compute-optimal depth, correlations and sampling efficiency. Of a table without rows the first one's
        notes tell why."""
        made = [_runs(self), _laws(self), _optimal(self), _correlations(self), _efficiency(self)]
        empty = [f"{table.title}: {note}" for table in made if table.frame.empty for note in table.notes]
        first = replace(made[0], notes=[*made[0].notes, *empty])
        return [first, *(table for table in made[1:] if len(table.frame))]


def report(run: Run) -> Scaling:
    """Analyse the scaling of a run folder. Raises `UserError` as `analysis.scaling.runs.collect` does."""
    runs = collect(run)
    metrics = run.metrics
    found = means(runs.values, {m for m in runs.values if metrics[m].scale == "log"})
    loss = found["val_loss"]
    curve = fits.frontier(runs, loss)
    return Scaling(
        runs=runs,
        metrics=metrics,
        means=found,
        frontier=curve,
        table=_table(runs, metrics, found, curve),
        laws=fits.table(runs, loss, curve),
        optimal=frontier.optimal(runs, loss),
        correlations=correlation.table(found),
        efficiency=(rows := efficiency.table(runs))[0],
        efficiency_notes=tuple(rows[1]),
    )


def _table(
    runs: Runs, metrics: Mapping[str, Metric], found: dict[str, Means], curve: Frontier
) -> pd.DataFrame:
    table = runs.table.assign(seeds=found["val_loss"].seeds)
    for metric, mean in found.items():
        for name, values in (
            (metric, mean.values),
            (f"{metric}_low", mean.low),
            (f"{metric}_high", mean.high),
        ):
            kept = np.full(len(table), np.nan) if values is None else values
            scale = metrics[metric].scale
            table[name] = np.exp(kept) if mean.log else kept.clip(0, 1) if scale == "share" else kept
    return table.assign(frontier=curve.on)


def _made(
    name: str,
    title: str,
    frame: pd.DataFrame,
    cells: dict[str, list[str]],
    notes: list[str],
    optional: tuple[str, ...] = (),
) -> Table:
    text = pd.DataFrame(cells, dtype=object)
    none = pd.DataFrame(False, index=text.index, columns=text.columns)
    about = {f"scaling_{name}_notes": notes}
    return Table(f"scaling_{name}", frame, text, none, none, none, notes, optional, title, about)


def _runs(found: Scaling) -> Table:
    frame, runs = found.table, found.runs
    cells = {
        "depth": [str(d) for d in frame["depth"]],
        "steps": [str(s) for s in frame["steps"]],
        "parameters": [number(p) for p in frame["parameters"]],
        "FLOPs": [number(c) for c in frame["train_flops"]],
        "seeds": [str(s) for s in frame["seeds"]],
    }
    for metric in found.means:
        digits = declared.decimals(frame[metric], found.metrics[metric].digits)
        cells[found.metrics[metric].label] = [span(row, metric, digits) for row in frame.to_dict("records")]
    cells["frontier"] = ["*" if on else "" for on in frame["frontier"]]
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
    title = f"Scaling of {runs.formulation} on {runs.dataset}"
    quality = [found.metrics[metric].label for metric in found.means if metric != "val_loss"]
    return _made("runs", title, frame, cells, notes, ("parameters", "seeds", *reversed(quality)))


def _laws(found: Scaling) -> Table:
    frame, rows = found.laws, found.laws.to_dict("records")
    cells = {
        "loss against": [row["against"] for row in rows],
        "runs": [str(row["runs"]) for row in rows],
        "range": [f"{number(row['start'])} to {number(row['end'])}" for row in rows],
        "alpha": [span(row, "alpha", 3) for row in rows],
    }
    notes = []
    if found.frontier.law is not None:
        cells |= {name.upper(): [span(row, name, 4) for row in rows] for name in ("e", "a")}
        at = power(found.frontier.law.x0)
        error = 100 * float(found.frontier.law.error)
        notes.append(
            f"on the frontier L = E + A (C / {at})^-alpha, C in FLOPs; root mean square error {error:.2g} %"
        )
    if frame["a"].isna().any():
        notes.append(
            "without E: L = c x^-alpha, a straight line in logarithms, a slope of that range and not a law"
        )
    if found.drawn:
        notes.append(
            "in brackets: 95 % over other seeds, each with its own frontier (parametric bootstrap); they do not cover "
            "that the law may be wrong, or hold for this recipe only"
        )
    notes += found.frontier.warnings
    return _made("laws", "Laws of the validation loss", frame, cells, notes, ("A", "E", "range"))


def _optimal(found: Scaling) -> Table:
    frame, rows = found.optimal, found.optimal.to_dict("records")
    cells = {
        "FLOPs": [power(row["train_flops"]) for row in rows],
        "depth": [str(row["depth"]) for row in rows],
        "val loss": [f"{row['val_loss']:.4f}" for row in rows],
        "best in": [percent(row["frequency"]) for row in rows],
        "else depth": [
            "" if np.isnan(row["rival"]) else f"{row['rival']:.0f} ({percent(row['rival_frequency'])})"
            for row in rows
        ],
        "of depths": [str(row["compared"]) for row in rows],
    }
    if frame.empty:
        notes = [
            "no compute is reached by two depths: train a depth longer, or its neighbour for fewer steps"
        ]
    else:
        notes = [
            "between the runs of a depth the loss is interpolated in logarithms, and nowhere extrapolated"
        ]
        notes += ["best in: share of draws of other seeds"] if found.drawn else []
    optional = ("of depths", "else depth")
    return _made("optimal", "Compute-optimal depth", frame, cells, notes, optional)


def _correlations(found: Scaling) -> Table:
    frame, rows = found.correlations, found.correlations.to_dict("records")
    cells = {
        "val loss with": [found.metrics[row["metric"]].label for row in rows],
        "runs": [str(row["runs"]) for row in rows],
        "Spearman": [span(row, "spearman", 2) for row in rows],
        "Pearson of logs": [span(row, "pearson", 2) for row in rows],
    }
    notes = [] if len(rows) else ["a correlation needs three runs with another metric"]
    if found.drawn and len(rows):
        notes.append(
            "in brackets: 95 % interval of the correlation of the true means; noise lowers a measured one"
        )
    elif len(rows):
        fewest = min(row["runs"] for row in rows)
        share = f"{200 / math.factorial(fewest):.2g} %"
        notes.append(
            f"no intervals; of {fewest} runs in random order {share} have a Spearman correlation of 1 or -1"
        )
    optional = ("Pearson of logs", "runs")
    return _made("correlations", "Validation loss and quality", frame, cells, notes, optional)


def _efficiency(found: Scaling) -> Table:
    frame, rows = found.efficiency, found.efficiency.to_dict("records")
    cells = {"depth": [str(row["depth"]) for row in rows], "source": [row["source"] for row in rows]}
    for name in frame.columns:
        if name.startswith("drop_") and name.count("_") == 1:
            heading = f"{name.removeprefix('drop_')} steps (%)"
            cells[heading] = [span(row, name, 2) for row in rows]
    if "path_length" in frame:
        cells["path length"] = [span(row, "path_length", 2) for row in rows]
    notes = list(found.efficiency_notes)
    ours = frame[frame["source"] == efficiency.OURS]
    if found.drawn and ours.filter(regex="_low$").isna().any(axis=None):
        notes.append("no interval where a depth lacks a seed")
    if "path_length" in frame:
        notes.append("path lengths of the paper are in its latent space: only the order over depths compares")
    optional = tuple(reversed(list(cells)[3:]))
    return _made("efficiency", "CLIP score lost with fewer sampling steps", frame, cells, notes, optional)
