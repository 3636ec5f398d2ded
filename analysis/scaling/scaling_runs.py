"""The finished runs of a scaling experiment: one formulation at several depths and numbers of training steps, over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analysis.runs import recipe_fields, schema, training_stages
from analysis.runs.run import Run
from analysis.runs.schema import Results
from analysis.stats.association import Array
from analysis.tables.wording import names, series
from bench.config import kept_weights
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

SIZE = ("model.depth", "training.steps")
KEY = ["depth", "training_steps"]
"""Fields of a recipe, and columns of the rows, that differ from run to run."""
METRICS = ("val_loss", "clip", "fid", "composition")
NEEDED = ("recipe", "parameters", "train_flops", "val_loss")


@dataclass(frozen=True, eq=False)
class Runs:
    """R runs in the order of depth and steps. ``table`` has ``depth``, ``steps``, ``parameters`` and ``train_flops``;
    ``values[metric]`` is ``[R, S]``, NaN where a training is not finished, for what was measured of `METRICS`: means over
    the control settings. ``rows`` are the finished rows of the results table, with ``depth`` and ``training_steps``.
    ``notes`` are sentences about stages of training and what is left out."""

    formulation: str
    dataset: str
    seeds: tuple[int, ...]
    table: pd.DataFrame
    values: dict[str, Array]
    rows: pd.DataFrame
    notes: tuple[str, ...]

    @property
    def depth(self) -> NDArray[np.int64]:
        """``[R]``."""
        return self.table["depth"].to_numpy(dtype=np.int64)

    @property
    def steps(self) -> NDArray[np.int64]:
        """``[R]``: training steps."""
        return self.table["steps"].to_numpy(dtype=np.int64)

    @property
    def compute(self) -> Array:
        """``[R]``: operations of a training."""
        return self.table["train_flops"].to_numpy(dtype=np.float64)

    @property
    def parameters(self) -> Array:
        """``[R]``: of the network."""
        return self.table["parameters"].to_numpy(dtype=np.float64)


def is_scaling(found: Run) -> bool:
    """Whether the trainings of a run differ in depth or number of steps, and else in formulation, dataset and seed only."""
    frame = found.phase("rank").frame
    recipes = [str(r) for r in frame["recipe"].dropna().unique()] if "recipe" in frame else []
    return len(recipes) > 1 and all(map(_is_size, recipe_fields.differing(recipes)))


def collect(*found: Run) -> Runs:
    """The runs of a run folder or of its results table, or of several, which have other depths or lengths each.

    Raises `UserError` where nothing can be said of scaling: for a table without recipes, several formulations or datasets,
    recipes that differ in more than depth and steps, a training that two folders have, folders of different control
    settings, and fewer than two finished runs.
    """
    results, where = _together(found)
    _check(results, where)
    frame = _sized(results.frame)
    _check_once(frame, found)
    done = frame[(frame["status"] == "done") & np.isfinite(frame["val_loss"])]
    if done.empty:
        counts = _trainings(frame)["status"].value_counts()
        states = ", ".join(f"{n} {state}" for state, n in counts.items())
        raise UserError(f"{where} has no finished training ({states}): come back when there are some")
    if (done["val_loss"] <= 0).any():
        raise UserError(
            f"{where} has a validation loss of {done['val_loss'].min():g}; only positive ones can scale"
        )
    table = done.groupby(KEY)[["parameters", "train_flops"]].first().reset_index()
    table = table.rename(columns={"training_steps": "steps"})
    if len(table) < 2:
        depth, steps = (int(v) for v in table.loc[0, ["depth", "steps"]])
        planned = len(frame[KEY].drop_duplicates())
        rest = f" of {planned} planned sizes" if planned > 1 else ""
        raise UserError(
            f"{where} has finished one size only{rest} (depth {depth}, {steps} steps): scaling needs several depths or "
            f"numbers of training steps, in one folder or several"
        )
    seeds = tuple(sorted(int(s) for s in done["seed"].unique()))
    there = [m for m in METRICS if m in done and done[m].notna().any()]
    means = done.groupby([*KEY, "seed"])[there].mean().unstack("seed")
    values = {m: means[m].reindex(columns=list(seeds)).to_numpy(dtype=np.float64) for m in there}
    formulation, dataset = (str(frame[column].iloc[0]) for column in ("formulation", "dataset"))
    return Runs(
        formulation,
        dataset,
        seeds,
        table,
        values,
        done,
        (*training_stages.described(done), *_left_out(frame)),
    )


def by_size(found: Run) -> Run:
    """The run with the sizes of its trainings as its formulations (:func:`size`), for lists and pictures of trainings."""

    def named(recipe: str) -> str:
        fields = recipe_fields.flat(recipe)
        return size(*(int(fields[field]) for field in SIZE))

    recipes = found.frame["recipe"]
    frame = found.frame.assign(
        formulation=recipes.map({recipe: named(recipe) for recipe in recipes.unique()})
    )
    plans = []
    for plan in found.manifests:
        names = [named(recipe.text) for recipe in plan.recipes]
        cells = tuple(replace(cell, formulation=names[cell.recipe]) for cell in plan.cells)
        plans.append(replace(plan, cells=cells))
    return replace(found, frame=frame, manifests=tuple(plans))


def size(depth: int, steps: int) -> str:
    """The size of a training, in words."""
    return f"depth {depth}, {steps:,} steps"


def _is_size(name: str) -> bool:
    """Whether a field of recipes may differ: the size, which earlier stages of training share."""
    return name in SIZE or name.endswith("init.cell.model.depth")


def check(found: Run) -> None:
    """Raise `UserError` unless all rows may stand in one scaling experiment."""
    _check(*_together([found]))


def _together(found: Sequence[Run]) -> tuple[Results, str]:
    """The ranked rows of all runs, each with its place ``run`` among them, and what to call these runs in a message."""
    results = [run.phase("rank") for run in found]
    for other in results[1:]:
        _check_settings(results[0], other)
    frame = pd.concat([part.frame.assign(run=i) for i, part in enumerate(results)], ignore_index=True)
    paths = series([repr(str(run.path)) for run in found])
    return replace(results[0], frame=frame), f"the experiment of {paths}" if len(found) > 1 else paths


def _check_settings(one: Run, other: Run) -> None:
    """Raise `UserError` for runs of different control settings, over which quality is a mean."""
    first, second = (set(schema.controls(run.frame)) for run in (one, other))
    for setting in sorted(first ^ second):
        owner = one if setting in first else other
        raise UserError(
            f"{str(one.path)!r} and {str(other.path)!r} have different control settings, and quality is a mean over them: "
            f"only {str(owner.path)!r} has {setting}; choose what both have, for example with --where steps=50"
        )


def _check_once(frame: pd.DataFrame, found: Sequence[Run]) -> None:
    """Raise `UserError` for a training that two runs have, whose seed would count twice."""
    for (depth, steps, seed), rows in frame.groupby([*KEY, "seed"]):
        one, *others = (str(found[i].path) for i in rows["run"].unique())
        if others:
            raise UserError(
                f"{one!r} and {others[0]!r} both have depth {depth}, {steps} steps, seed {seed}: name folders that "
                f"differ in depths or training steps"
            )


def _check(results: Results, where: str) -> None:
    frame = results.frame
    for column in NEEDED:
        if column not in frame or (column != "val_loss" and frame[column].isna().any()):
            raise UserError(
                f"{where} has rows without {column}: name a run folder of bench.grid, whose cells have it"
            )
    for column in ("formulation", "dataset"):
        several = [str(v) for v in frame[column].unique()]
        if len(several) > 1:
            raise UserError(
                f"{where} has {len(several)} {column}s ({names(several)}), and scaling is of one: "
                f"choose with --where {column}={several[0]}"
            )
    early = frame["weights"][frame["weights"].map(kept_weights.milestone).notna()]
    if len(early):
        raise UserError(
            f"scaling is of whole trainings, and {early.iloc[0]} are weights of a part of one: choose ema or raw with "
            f"--where weights=..."
        )
    recipes = [str(r) for r in frame["recipe"].unique()]
    parts = {name: values for name, values in recipe_fields.differing(recipes).items() if not _is_size(name)}
    if parts:
        fields = "; ".join(f"{name} {' and '.join(map(str, values[:4]))}" for name, values in parts.items())
        name, values = next(iter(parts.items()))
        raise UserError(
            f"the runs of {where} differ in more than depth and training steps ({fields}): "
            f"choose with --where {name}={values[0]}"
        )
    schema.comparable(replace(results, frame=frame.drop(columns="recipe")), where)
    for name in (name for name in SIZE if name not in recipe_fields.flat(recipes[0])):
        raise UserError(f"the recipes of {where} have no {name}: name a run folder of bench.grid")


def _sized(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with ``depth`` and ``training_steps`` of their recipes."""
    sizes = {recipe: recipe_fields.flat(str(recipe)) for recipe in frame["recipe"].unique()}
    columns = {
        name: frame["recipe"].map({recipe: int(fields[field]) for recipe, fields in sizes.items()})
        for name, field in zip(KEY, SIZE, strict=True)
    }
    return frame.assign(**columns)


def _trainings(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each training, with a status of its own where it is done without a finite validation loss."""
    rows = frame.drop_duplicates([*KEY, "seed"])
    unknown = (rows["status"] == "done") & ~np.isfinite(rows["val_loss"])
    return rows.assign(status=rows["status"].mask(unknown, "without a validation loss"))


def _left_out(frame: pd.DataFrame) -> Iterator[str]:
    """Sentences about the trainings that are not among the finished ones."""
    trainings = _trainings(frame)
    pending = int((trainings["status"] == "pending").sum())
    if pending:
        yield f"provisional: {pending} of {len(trainings)} trainings not finished yet"
    for state in ("diverged", "failed", "missing", "without a validation loss"):
        lost = trainings[trainings["status"] == state]
        if len(lost):
            which = [f"depth {r.depth} x {r.training_steps} steps, seed {r.seed}" for r in lost.itertuples()]
            yield f"left out, {state}: {names(which)}"
