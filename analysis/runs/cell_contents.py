"""What the cells of a run hold besides the numbers of the table: curves, profiles, values of single samples, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.runs.run import Run
from analysis.runs.sources import CURVE, PROBES, Pixels, json_of
from bench.config.sampling_settings import ControlSetting
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")


@dataclass(frozen=True, eq=False)
class Profile:
    """A formulation in words, and where it spends its training: curves over the clock, ``[N]``."""

    formula: str
    clock: NDArray[np.float64]
    budget: NDArray[np.float64]


def curves(run: Run) -> pd.DataFrame:
    """The validations of all finished cells: formulation, dataset, seed, cell, step, seconds, train_loss, val_loss, and the
    common loss at each noise level as ``level_0`` .. ``level_7`` (`LEVELS`), and `PROBES`. Cells without a readable log are
    left out."""
    rows: list[dict[str, Any]] = []
    for _, cell in run.cells():
        about = {"formulation": cell.formulation, "dataset": cell.dataset, "seed": cell.seed, "cell": cell.id}
        rows += [about | line for line in run.source.validations(cell.id)]
    numbers = [*CURVE, *PROBES]
    frame = pd.DataFrame(rows, columns=["formulation", "dataset", "seed", "cell", *numbers])
    frame[numbers] = frame[numbers].astype("float64")
    return frame


def evaluated(validations: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The ``validations`` (`curves`) of each cell at the steps that the table's ``rows`` are of: several where weights of
    milestones are among them, and none at a milestone between validations. Of a cell without known steps the last."""
    if validations.empty:  # of a bare table, whose rows name no cells
        return validations
    key = ["cell", "step"]
    known = rows.assign(step=rows.get("best_step", np.nan)).dropna(subset=["step"])[key]
    chosen = pd.MultiIndex.from_frame(validations[key]).isin(pd.MultiIndex.from_frame(known))
    last = validations["step"] == validations.groupby("cell", observed=True)["step"].transform("max")
    kept = np.where(validations["cell"].isin(known["cell"]), chosen, last)
    return validations[kept].drop_duplicates(key, keep="last")


def profiles(run: Run) -> dict[str, Profile]:
    """Profiles by formulation, of those whose cells have one (whatever became of them)."""
    found: dict[str, Profile] = {}
    for m in run.manifests:
        for cell in m.cells:
            if cell.formulation in found:
                continue
            try:
                kept = json_of(run.source, cell.id, "config.json")["profile"]
                curve = (np.asarray(kept[k], dtype=np.float64) for k in ("clock", "budget"))
                found[cell.formulation] = Profile(str(kept["formula"]), *curve)
            except (ValueError, KeyError, TypeError):
                continue
    return found


def captions(run: Run, dataset: str) -> list[str]:
    """The first captions of a dataset that were sampled, in the order of the pictures."""
    for m, cell in run.cells():
        if cell.dataset == dataset:
            kept = json_of(run.source, cell.id, f"{m.evaluation}/result.json").get("captions")
            if isinstance(kept, list):
                return kept
    return []


def pictures(
    run: Run,
    formulation: str,
    dataset: str,
    seed: int,
    control: ControlSetting,
    rows: Sequence[int],
) -> Pixels | None:
    """The pictures ``[len(rows), C, H, W]`` of some captions; None if the cell has none at this setting.

    Raises `UserError` naming the file if it is damaged.
    """
    for m, cell in run.cells():
        if (cell.formulation, cell.dataset, cell.seed) == (formulation, dataset, seed):
            found = run.source.pictures(cell.id, m.sampling, control.name, rows)
            if found is not None:
                return found
    return None


def per_sample(run: Run, metric: str) -> dict[tuple[str, str, int, str], NDArray[np.float64]]:
    """Values of single samples ``[n]`` of a metric (``clip``, ``fid``, ...) by (formulation, dataset, seed, setting's name).

    Sample i has the same caption everywhere in a dataset. Files that cannot be read are left out.
    """
    return {
        (cell.formulation, cell.dataset, cell.seed, setting): values
        for m, cell in run.cells()
        for setting, values in run.source.samples(cell.id, m.evaluation, metric).items()
    }
