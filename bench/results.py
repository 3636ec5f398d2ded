"""From cell folders to the tables of a run: ``results.parquet``, ``ranking.csv``, ``samples.png``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench import store
from bench.config import Evaluation
from bench.plan import ENDED, Plan, Planned
from samplers.errors import UserError


def collect(plan: Plan) -> pd.DataFrame:
    """One row per finished cell and control setting; a diverged or failed cell has rows without numbers."""
    rows: list[dict[str, Any]] = []
    for planned in plan.cells:
        rows += cell_rows(planned, plan.grid.evaluation)
    return pd.DataFrame(rows)


def cell_rows(planned: Planned, evaluation: Evaluation) -> list[dict[str, Any]]:
    """The rows of one cell; none if it has not been run."""
    cell = planned.cell
    if planned.state not in ENDED:
        return []
    status = store.read_object(planned.folder / "status.json")
    common = {
        "formulation": cell.formulation,
        "dataset": cell.dataset,
        "seed": cell.seed,
        "status": "done" if planned.state == "done" else planned.state,
        "cell": cell.id,
        "val_loss": status.get("val_loss") if planned.state == "done" else None,
        "best_step": status.get("best_step"),
    }
    if planned.state != "done":
        return [
            common | {"weights": weights, "steps": steps, "cfg": cfg, "clip": None, "fid": None, "kid": None}
            for weights in evaluation.weights
            for steps, cfg in evaluation.settings
        ]
    path = planned.folder / evaluation.id / "result.json"
    result = store.read_object(path)
    try:
        return [common | values | result["names"] for values in result["settings"].values()]
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{path} is not a result: delete that file and run the command again") from None


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame whole, as parquet or CSV by the ending of ``path``."""
    if path.suffix == ".parquet":
        store.write_whole(path, lambda p: frame.to_parquet(p, index=False))
    else:
        store.write_whole(path, lambda p: frame.to_csv(p, index=False))


def sample_sheet(
    plan: Plan, order: Sequence[str], path: Path, captions: Sequence[str], columns: int = 8
) -> None:
    """Draw formulations x captions for the first dataset and seed, at the study's setting with most steps and guidance.

    ``order`` lists formulations from the best; a cell without images leaves its row out.
    """
    from matplotlib.figure import Figure

    evaluation = plan.grid.evaluation
    weights, (steps, cfg) = evaluation.weights[0], max(evaluation.settings)
    dataset, seed = plan.cells[0].cell.dataset, plan.cells[0].cell.seed
    found = shown(plan)
    names = [name for name in order if name in found]
    if not names:
        return
    columns = min(columns, len(captions))
    figure = Figure(figsize=(2.2 + 1.05 * columns, 1.25 + 1.05 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), columns, squeeze=False)
    for row, name in zip(axes, names, strict=True):
        images = store.read_tensors(found[name], "numpy")[0]["images"]
        for i, ax in enumerate(row):
            picture = images[i].transpose(1, 2, 0)
            ax.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            ax.set(xticks=[], yticks=[])
            for spine in ax.spines.values():
                spine.set_color("0.8")
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    for ax, caption in zip(axes[0], captions, strict=False):
        ax.set_title(_wrapped(caption), fontsize=6.5)
    kind = "EMA" if weights == "ema" else "raw"
    figure.suptitle(f"{dataset}, seed {seed}: {kind} weights, {steps} steps, guidance {cfg:g}", fontsize=10)
    store.write_whole(path, lambda p: figure.savefig(p, dpi=130))


def shown(plan: Plan) -> dict[str, Path]:
    """The images that the sheet shows, by formulation: of the finished cells of the first dataset and seed."""
    evaluation, first = plan.grid.evaluation, plan.cells[0].cell
    weights, (steps, cfg) = evaluation.weights[0], max(evaluation.settings)
    return {
        p.cell.formulation: store.images_file(p.folder, evaluation.sampling, f"{weights}-{steps}-{cfg:g}")
        for p in plan.cells
        if (p.cell.dataset, p.cell.seed) == (first.dataset, first.seed) and p.state == "done"
    }


def _wrapped(caption: str, width: int = 18) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(caption, width, max_lines=4))
