"""What lies in the cells of a run beside the numbers of the table: curves, profiles, values of single samples, pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.settings import ControlSetting
from samplers.errors import UserError
from samplers.lazy import lazy

from .run import Run

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

LEVELS = tuple((i + 0.5) / 8 for i in range(8))
"""The noise levels of the validation, on the clock b / (a + b)."""


@dataclass(frozen=True, eq=False)
class Profile:
    """A formulation in words, and where it spends its training: curves over the clock, ``[N]``."""

    formula: str
    clock: NDArray[np.float64]
    density: NDArray[np.float64]
    budget: NDArray[np.float64]


def curves(run: Run) -> pd.DataFrame:
    """The validations of all finished cells: formulation, dataset, seed, cell, step, seconds, train_loss, val_loss, and the
    common loss at each noise level as ``level_0`` .. ``level_7`` (`LEVELS`). Cells without a readable log are left out."""
    rows: list[dict[str, Any]] = []
    for _, cell, home in run.cells():
        about = {"formulation": cell.formulation, "dataset": cell.dataset, "seed": cell.seed, "cell": cell.id}
        rows += [about | line for line in _log(home / "metrics.jsonl")]
    measured = [*LOGGED, *(f"level_{i}" for i in range(len(LEVELS)))]
    frame = pd.DataFrame(rows, columns=["formulation", "dataset", "seed", "cell", *measured])
    frame[measured] = frame[measured].astype("float64")
    return frame


LOGGED = ("step", "seconds", "train_loss", "val_loss")


def evaluated(validations: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """One of the ``validations`` (`curves`) of each cell: that of the evaluated checkpoint, which the table's ``rows`` tell,
    else the last."""
    if "best_step" in rows and len(validations):
        wanted = (
            validations["cell"].map(rows.groupby("cell", observed=True)["best_step"].first()).astype(float)
        )
        validations = validations[(validations["step"] == wanted) | wanted.isna()]
    return validations.sort_values("step").groupby("cell", observed=True).tail(1)


def _log(file: Path) -> list[dict[str, float]]:
    """The numbers of a log, without those that are not there; empty if anything in it is not a log's."""
    found: list[dict[str, float]] = []
    try:
        for line in map(json.loads, file.read_text(encoding="utf-8").splitlines()):
            levels = line.get("val_common") or [None] * len(LEVELS)
            told = {name: line.get(name) for name in LOGGED}
            told |= {f"level_{i}": value for i, value in zip(range(len(LEVELS)), levels, strict=True)}
            found.append({name: float(value) for name, value in told.items() if value is not None})
    except (OSError, ValueError, TypeError, AttributeError):
        return []
    return found


def profiles(run: Run) -> dict[str, Profile]:
    """Profiles by formulation, of those whose cells tell one (whatever became of them)."""
    found: dict[str, Profile] = {}
    for m in run.manifests:
        for cell in m.cells:
            if cell.formulation in found:
                continue
            try:
                kept = json.loads((run.path / "cells" / cell.id / "config.json").read_bytes())["profile"]
                curve = (np.asarray(kept[k], dtype=np.float64) for k in ("clock", "density", "budget"))
                found[cell.formulation] = Profile(str(kept["formula"]), *curve)
            except (OSError, ValueError, KeyError, TypeError):
                continue
    return found


def captions(run: Run, dataset: str) -> list[str]:
    """The first captions of a dataset that were sampled, in the order of the pictures."""
    for m, cell, home in run.cells():
        if cell.dataset == dataset:
            try:
                return list(json.loads((home / m.evaluation / "result.json").read_bytes())["captions"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
    return []


def real_images(run: Run, dataset: str, caption: str, most: int) -> NDArray[np.uint8] | None:
    """Up to ``most`` real images ``[n, C, H, W]`` for a caption, kept with the yardsticks of a run; None if it has none
    or if the file cannot be read."""
    from safetensors import SafetensorError, safe_open

    for file in sorted(
        run.path.glob(f"yardsticks/*/{sha256(dataset.encode()).hexdigest()[:12]}.safetensors")
    ):
        try:
            with safe_open(file, framework="numpy") as kept:
                captions = json.loads(kept.metadata()["about"])["captions"]
                rows = [i for i, found in enumerate(captions) if found == caption][:most]
                part = kept.get_slice("images")
                if rows:
                    return np.stack([part[row] for row in rows]).astype(np.uint8)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, IndexError):
            continue
    return None


def pictures(
    run: Run,
    formulation: str,
    dataset: str,
    seed: int,
    control: ControlSetting,
    rows: Sequence[int],
) -> NDArray[np.uint8] | None:
    """The pictures ``[len(rows), C, H, W]`` of some captions; None if the cell has none at this setting.

    Raises `UserError` naming the file if it is damaged.
    """
    for m, cell, home in run.cells():
        if (cell.formulation, cell.dataset, cell.seed) != (formulation, dataset, seed):
            continue
        file = home / f"images-{m.sampling}" / f"{control.name}.safetensors"
        if not file.exists():
            continue
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(file, framework="numpy") as kept:
                part = kept.get_slice("images")
                there = [row for row in rows if row < part.get_shape()[0]]
                return np.stack([part[row] for row in there]).astype(np.uint8)
        except (SafetensorError, OSError, ValueError) as error:
            raise UserError(f"{file} cannot be read ({error}): delete it and run the grid again") from None
    return None


def per_sample(run: Run, metric: str) -> dict[tuple[str, str, int, str], NDArray[np.float64]]:
    """Values of single samples ``[n]`` of a metric (``clip``, ``fid``, ...) by (formulation, dataset, seed, setting's name).

    Sample i has the same caption everywhere in a dataset. Files that cannot be read are left out.
    """
    from safetensors import SafetensorError, safe_open

    found: dict[tuple[str, str, int, str], NDArray[np.float64]] = {}
    for m, cell, home in run.cells():
        try:
            with safe_open(home / m.evaluation / "per_sample.safetensors", framework="numpy") as kept:
                for key in kept.keys():  # noqa: SIM118 (not a dict)
                    setting, _, name = key.partition("/")
                    if name == metric:
                        place = (cell.formulation, cell.dataset, cell.seed, setting)
                        found[place] = kept.get_tensor(key).astype(np.float64)
        except (SafetensorError, OSError, ValueError):
            continue
    return found
