"""What the sampling steps leave to a perfect network: ``ideal.json`` of ``python -m bench.ideal RUN``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from samplers.errors import UserError
from samplers.lazy import lazy

from .run import Run
from .wide import FEW

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

FILE = "ideal.json"
COLUMNS = ("dataset", "formulation", "steps", "solver", "grid", "fid")


def left(run: Run) -> pd.DataFrame | None:
    """The FID that each dataset, formulation and sampler setting leaves to a perfect network; None if the run folder has no
    such file. Raises `UserError` if it cannot be read."""
    file = run.path / FILE
    try:
        found = pd.DataFrame(json.loads(file.read_text(encoding="utf-8"))["left"])[list(COLUMNS)]
        return found.astype({"steps": int, "fid": float})
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{str(file)!r} cannot be read ({error}): run `python -m bench.ideal {run.path}` again"
        ) from None


def add(ranking: pd.DataFrame, run: Run) -> pd.DataFrame:
    """A ranking with the column ``ideal_5``: the FID that 5 steps leave to a perfect network, averaged over the datasets,
    solvers and grids of the run; there is no guidance in it.

    Raises `UserError` if the run folder has no such file, or one without 5 steps.
    """
    found = left(run)
    make = f"run `python -m bench.ideal {run.path}` first"
    if found is None:
        raise UserError(f"--ideal: {str(run.path)!r} has no {FILE}: {make}")
    few = found[(found["steps"] == FEW) & found["dataset"].isin(run.frame["dataset"])]
    means = few.groupby("formulation")["fid"].mean()
    if means.empty:
        raise UserError(
            f"--ideal: {str(run.path / FILE)!r} has no setting of {FEW} steps: sample with 5 steps, and {make}"
        )
    out = ranking.assign(ideal_5=ranking["formulation"].map(means))
    out.attrs.update(ranking.attrs)
    return out
