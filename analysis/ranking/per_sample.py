"""Intervals of single runs, from the values of their samples: what another draw of captions and noise would have changed.

Seeds of training do not enter: two runs of one formulation differ by more than these intervals say.

- CLIP: paired bootstrap over captions, the same draws for every formulation.
- FID: the same, by its influence values (`bench.metrics.influence`): with weights ``w_i`` of the captions, to first order
  ``FID_w = FID + mean_i (w_i - 1) psi_i``.
- KID, and any other metric with a standard error: that; settings share their captions, so their errors are taken to be
  fully correlated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analysis.results import cells, declared, schema
from analysis.results.run import Run
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

DRAWS = 2_000
SEED = 2403_03206
Z = 1.959964
"""Quantile of the normal law for 95 %."""


def intervals(run: Run, rows: pd.DataFrame, means: pd.DataFrame, best: str) -> pd.DataFrame:
    """``clip_low``, ``clip_high``, ``clip_behind_low``, ``clip_behind_high`` and the same of ``fid``, and the first two
    of a metric with a standard error, such as ``kid``, by formulation.

    ``rows`` of the results table are those that were ranked; ``means`` is the ranking indexed by formulation, whose
    ``clip``, ``fid`` and ``kid`` the intervals are of; ``behind`` is the paired difference, this formulation minus
    ``best`` (none for KID). Only where every setting has values of its samples.
    """
    out = pd.DataFrame(index=means.index)
    for metric in ("clip", "fid"):
        if metric in means:
            out = out.join(_bootstrap(run, rows, metric, means[metric], best))
    done = rows[rows["status"] == "done"].groupby("formulation", observed=True)
    for metric in declared.of(rows):
        if metric in means and f"{metric}_stderr" in rows and f"{metric}_low" not in out:
            error = done[f"{metric}_stderr"].mean().reindex(means.index)
            out[f"{metric}_low"], out[f"{metric}_high"] = means[metric] - Z * error, means[metric] + Z * error
    return out


def _bootstrap(run: Run, rows: pd.DataFrame, metric: str, means: pd.Series[float], best: str) -> pd.DataFrame:
    averaged, share = _averaged(run, rows, metric), _shares(rows)
    names = [n for n in means.index if np.isfinite(means[n]) and n in averaged]
    datasets = sorted({d for n in names for d in averaged[n]})
    names = [n for n in names if set(averaged[n]) == set(datasets)]
    if not names:
        return pd.DataFrame(index=means.index)
    rng, shift = np.random.default_rng(SEED), np.zeros((DRAWS, len(names)))
    for dataset in datasets:
        values = np.stack([averaged[n][dataset] for n in names], axis=1)  # [n, F]
        count = len(values)
        weights = rng.multinomial(count, np.full(count, 1 / count), size=DRAWS) / count
        shift += (weights @ (values - values.mean(axis=0))) * share.loc[names, dataset].to_numpy()
    found = pd.DataFrame(index=names)
    low, high = np.quantile(shift, [0.025, 0.975], axis=0)
    found[f"{metric}_low"], found[f"{metric}_high"] = means[names] + low, means[names] + high
    if best in names:
        behind = shift - shift[:, [names.index(best)]]
        low, high = np.quantile(behind, [0.025, 0.975], axis=0)
        apart = means[names] - means[best]
        found[f"{metric}_behind_low"], found[f"{metric}_behind_high"] = apart + low, apart + high
    return found.reindex(means.index)


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
    for (formulation, dataset, seed, setting), values in cells.per_sample(run, metric).items():
        if (formulation, dataset, seed, setting) in shown:
            sums.setdefault((formulation, dataset), []).append(values)
    found: dict[str, dict[str, NDArray[np.float64]]] = {}
    for (formulation, dataset), parts in sums.items():
        if len(parts) == wanted[(formulation, dataset)] and len({len(p) for p in parts}) == 1:
            found.setdefault(formulation, {})[dataset] = np.mean(parts, axis=0)
    return found
