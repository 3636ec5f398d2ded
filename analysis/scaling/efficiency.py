"""How few sampling steps a depth needs: the CLIP score that is lost with fewer, and the length of the sampling paths.

Like table 6 of arXiv 2403.03206, whose numbers are shown with ours. Its path lengths are in its own latent space, so that
only the order over depths compares.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.published import paper_tables
from analysis.runs import schema
from analysis.scaling.scaling_runs import Runs
from analysis.stats import two_way as stats
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

ENDS = ("", "_low", "_high")
OURS = "this run"
COLUMNS = ["depth", "source", "training_steps", "seeds", "reference"]


def table(runs: Runs) -> tuple[pd.DataFrame, list[str]]:
    """One row for each depth, then the paper's; and sentences about them, or why there is no row.

    ``depth``, ``source``, ``training_steps`` (the largest number of the depth), ``seeds``, ``reference`` (the largest number
    of sampling steps), ``drop_K``: percent of the CLIP score at ``reference`` that is lost with K steps at the same weights
    and guidance, ``path_length`` at ``reference``; both with ``_low`` and ``_high``, 95 % over seeds where depths share two.
    """
    rows, why = _at_one_guidance(runs)
    if rows is None:
        return pd.DataFrame(columns=COLUMNS), [why]
    reference, by_depth = int(rows["steps"].max()), rows.groupby("depth")
    wide = rows.pivot(index=["depth", "seed"], columns="steps", values=["clip", "path_length"])
    numbers = {
        f"drop_{k}": (100 * (1 - wide["clip"][k] / wide["clip"][reference])).unstack("seed")
        for k in sorted(set(rows["steps"]) - {reference})
    }
    if wide["path_length"][reference].notna().any():
        numbers["path_length"] = wide["path_length"][reference].unstack("seed")
    ours = by_depth.agg(training_steps=("training_steps", "first"), seeds=("seed", "nunique")).reset_index()
    ours = ours.assign(source=OURS, reference=reference)
    for name, values in numbers.items():
        ours[name] = values.mean(axis=1).to_numpy()
        ours[[f"{name}_low", f"{name}_high"]] = _intervals(values)
    notes = [why]
    if ours["training_steps"].nunique() > 1:
        notes.append("depths were not trained for the same number of steps")
    both = pd.concat([ours, _papers()], ignore_index=True)
    counts = sorted({int(name.split("_")[1]) for name in map(str, both) if name.startswith("drop_")})
    names = (*(f"drop_{k}" for k in counts), "path_length")
    order = [*COLUMNS, *(f"{name}{end}" for name in names for end in ENDS)]
    return both[[name for name in order if name in both]], notes


def _at_one_guidance(runs: Runs) -> tuple[pd.DataFrame | None, str]:
    """The rows of each depth's longest training at the weights and the guidance that have the most numbers of sampling steps
    (of equals EMA and the larger guidance), and which these are; or why there are none."""
    rows = runs.rows[runs.rows["clip"].notna()] if "clip" in runs.rows else runs.rows.iloc[:0]
    rows = rows[rows["training_steps"] == rows.groupby("depth")["training_steps"].transform("max")]
    if rows.empty:
        return None, "no CLIP score was measured: nothing shows how many sampling steps are needed"
    kinds = [replace(control, steps=1) for control in schema.controls(rows)]
    steps = {kind: set(rows.loc[[k == kind for k in kinds], "steps"]) for kind in kinds}
    kind = max(steps, key=lambda k: (len(steps[k]), k.weights == "ema", not k.method, k.cfg, k))
    if len(steps[kind]) < 2:
        return None, "one number of sampling steps only: sample with fewer too, e.g. 5, 10, 20 and 50"
    rows = rows[[k == kind for k in kinds]]
    most = int(rows["steps"].max())
    about = f"{kind.kind}, guidance {kind.cfg:g}; drops are of the CLIP score at {most} steps"
    return (rows if "path_length" in rows else rows.assign(path_length=np.nan)), about


def _intervals(values: pd.DataFrame) -> Any:
    """Ends ``[D, 2]`` of the means of ``values`` ``[D, S]``, NaN for depths that lack a seed."""
    ends = np.full((len(values), 2), np.nan)
    rows = np.flatnonzero(values.notna().all(axis=1))
    if len(rows) and values.shape[1] >= 2:
        model = stats.fit(values.iloc[rows].to_numpy(), [str(r) for r in rows], range(values.shape[1]))
        levels = model.levels()
        ends[rows] = np.stack([levels.low, levels.high], axis=1)
    return ends


def _papers() -> pd.DataFrame:
    """The paper's table 6 in our columns."""
    names = {f"clip_drop_{k}": f"drop_{k}" for k in (5, 10, 20)}
    return paper_tables.table(6).rename(columns=names).assign(source="arXiv 2403.03206", reference=50)
