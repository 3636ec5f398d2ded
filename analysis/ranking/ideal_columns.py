"""What the sampling steps leave to a perfect network: ``ideal.json`` of ``python -m bench.ideal RUN``."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from analysis.ranking.pending import settled
from analysis.ranking.result import Estimate, RankingResult
from analysis.ranking.score_matrix import FEW
from analysis.runs import schema
from analysis.runs.run import Run
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

FILE = "ideal.json"
SETTING = ("dataset", "formulation", "steps", "cfg", "solver", "grid")
COLUMNS = (*SETTING, "fid")


def left(run: Run) -> pd.DataFrame | None:
    """The FID that each dataset, formulation and sampler setting leaves to a perfect network; None if the run folder has no
    such file. Raises `UserError` if it cannot be read."""
    file = run.path / FILE
    try:
        found = pd.DataFrame(json.loads(file.read_text(encoding="utf-8"))["left"])[list(COLUMNS)]
        return found.astype({"steps": int, "cfg": float, "fid": float})
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{str(file)!r} cannot be read ({error}): run `python -m bench.ideal {run.path}` again"
        ) from None


def add(ranking: RankingResult, run: Run) -> RankingResult:
    """A ranking with ``fid_5``, the mean FID of a formulation over its settings of 5 steps, and ``ideal_5``, what the same
    settings leave to a perfect network. Both are means over the same settings; a formulation for which one of them is not
    computed has neither.

    Raises `UserError` if the run folder has no such file, or one without the run's settings of 5 steps.
    """
    found = left(run)
    make = f"run `python -m bench.ideal {run.path}` first"
    if found is None:
        raise UserError(f"--ideal: {str(run.path)!r} has no {FILE}: {make}")
    rows, _ = settled(run.phase("rank").frame)
    few = rows[(rows["steps"] == FEW) & (rows["status"] == "done") & np.isfinite(rows["fid"])]
    few = few[[setting.usual for setting in schema.controls(few)]]  # what a perfect network is computed for
    if few.empty:
        raise UserError(
            f"--ideal: {str(run.path)!r} has no FID at {FEW} steps: sample with {FEW} steps, and {make}"
        )
    perfect = found.drop_duplicates(list(SETTING)).rename(columns={"fid": "ideal_5"})
    both = few[list(COLUMNS)].rename(columns={"fid": "fid_5"}).merge(perfect, "left", on=list(SETTING))
    means = both.groupby("formulation", observed=True)[["fid_5", "ideal_5"]].mean()
    lacking = both["ideal_5"].isna().groupby(both["formulation"], observed=True).any()
    means[lacking] = np.nan
    if means["ideal_5"].isna().all():
        raise UserError(
            f"--ideal: {str(run.path / FILE)!r} lacks settings of {FEW} steps that the run has: {make}"
        )
    more = {name: Estimate(means[name].reindex(ranking.counts.index)) for name in ("fid_5", "ideal_5")}
    return replace(ranking, columns={**ranking.columns, **more})
