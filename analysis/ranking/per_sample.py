"""Intervals of single runs, from the values of their samples: what another draw of captions and noise would have changed.

Seeds of training do not enter: two runs of one formulation differ by more than these intervals say.

- CLIP: paired bootstrap over captions, the same draws for every formulation.
- FID: the same, by its influence values (`bench.metrics.influence`): with weights ``w_i`` of the captions, to first order
  ``FID_w = FID + mean_i (w_i - 1) psi_i``.
- KID, and any other metric with a standard error: that; settings share their captions, so their errors are taken to be
  fully correlated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analysis.ranking.fixed_draw import SEED, redrawn
from analysis.ranking.result import Ends, Estimate
from analysis.runs import cell_contents, schema
from analysis.runs.run import Run
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

DRAWS = 2_000
Z = 1.959964
"""Quantile of the normal law for 95 %."""


def intervals(run: Run, rows: pd.DataFrame, columns: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """The columns of a ranking of ``rows`` with intervals of ``clip``, of ``fid``, and of metrics with a standard error
    (``kid``); of the first two also of the paired difference from the leader.

    Only where every setting has values of its samples.
    """
    made = dict(columns)
    for metric in ("clip", "fid"):
        made[metric] = _bootstrap(run, rows, metric, made[metric])
    done = rows[rows["status"] == "done"].groupby("formulation", observed=True)
    for metric in run.metrics:
        if metric in made and f"{metric}_stderr" in rows and made[metric].low is None:
            value = made[metric].value
            margin = Z * done[f"{metric}_stderr"].mean().reindex(value.index)
            made[metric] = replace(made[metric], low=value - margin, high=value + margin)
    return made


def _bootstrap(run: Run, rows: pd.DataFrame, metric: str, of: Estimate) -> Estimate:
    averaged, share, means = _averaged(run, rows, metric), _shares(rows), of.value
    names = [n for n in means.index if np.isfinite(means[n]) and n in averaged]
    datasets = sorted({d for n in names for d in averaged[n]})
    names = [n for n in names if set(averaged[n]) == set(datasets)]
    if not names:
        return of
    rng, shift = np.random.default_rng(SEED), np.zeros((DRAWS, len(names)))
    for dataset in datasets:
        values = np.stack([averaged[n][dataset] for n in names], axis=1)
        shift += redrawn(values, rng, DRAWS) * share.loc[names, dataset].to_numpy()

    def around(center: pd.Series[float], draws: NDArray[np.float64]) -> Ends:
        ends = (center[names] + end for end in np.quantile(draws, [0.025, 0.975], axis=0))
        return Ends(*(end.reindex(means.index) for end in ends))

    low, high = around(means, shift)
    behind, leader = None, means.index[0]
    if leader in names:
        behind = around(means - means[leader], shift - shift[:, [names.index(leader)]])
    return replace(of, low=low, high=high, behind=behind)


def _shares(rows: pd.DataFrame) -> pd.DataFrame:
    """What each dataset (columns) contributes to a formulation's printed mean, which is over settings and seeds."""
    counts = (
        rows[rows["status"] == "done"]
        .groupby(["formulation", "dataset"], observed=True)
        .size()
        .unstack(fill_value=0)
    )
    return counts.div(counts.sum(axis=1), axis=0)


def _averaged(run: Run, rows: pd.DataFrame, metric: str) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Values ``[n]`` by formulation and dataset, averaged over settings and seeds; nothing where a setting has none."""
    rows = rows[rows["status"] == "done"]
    wanted = rows.groupby(["formulation", "dataset"], observed=True).size()
    sums: dict[tuple[str, str], list[NDArray[np.float64]]] = {}
    names = [control.name for control in schema.controls(rows)]
    shown = set(zip(rows["formulation"], rows["dataset"], rows["seed"], names, strict=True))
    for (formulation, dataset, seed, setting), values in cell_contents.per_sample(run, metric).items():
        if (formulation, dataset, seed, setting) in shown:
            sums.setdefault((formulation, dataset), []).append(values)
    found: dict[str, dict[str, NDArray[np.float64]]] = {}
    for (formulation, dataset), parts in sums.items():
        if len(parts) == wanted[(formulation, dataset)] and len({len(p) for p in parts}) == 1:
            found.setdefault(formulation, {})[dataset] = np.mean(parts, axis=0)
    return found
