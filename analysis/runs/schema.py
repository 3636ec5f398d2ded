"""The results table: its columns, and checking them. `analysis.runs.run.read` reads it from folders and files.

One row per formulation, dataset, seed and control setting. Required are the first seven; further columns are kept and
not read.

- ``formulation``: canonical name, e.g. ``rf/lognorm(0.00,1.00)``
- ``dataset``: name of the training and validation data
- ``weights``: ``ema`` or ``raw``, or those of a milestone, as ``ema@0.5`` (`bench.config.kept_weights`)
- ``steps``, ``cfg``: solver steps and guidance scale
- ``solver``, ``grid``: default ``euler`` on the ``native`` grid, the study's (`bench.config.sampling_settings`)
- ``drop``: networks of the text encoder that were dropped, joined by ``+``; default ``none``
- ``guide``: the clocks between which guidance acts, as ``0.1-0.7``; default ``all``
- ``rule``: of guidance, ``cfg`` or ``cfg++``; default ``cfg``
- ``clip``: CLIP score, higher is better
- ``fid``: Frechet distance, lower is better
- every other metric that is declared (`bench.metrics.metric`), with its standard error ``NAME_stderr``, and
  its full recipe ``NAME_name``, one per dataset
- ``seed``: default 0
- ``untrained_loss``: the validation loss of the network before its first step
- ``status``: default ``done``; ``pending`` is not finished yet and ranks nowhere, any other ranks last in its setting
- ``phase``: default ``rank``; ``confirm`` rows come from fresh seeds and take no part in the ranking that chose them, nor do
  ``race`` rows, of the seeds in which some formulations were out of a race
- ``recipe``: canonical JSON of how the cell was trained and measured; one in every ranking
- ``parameters``, ``train_flops``: of the network, and operations of its training, with those of earlier stages; of a
  milestone's weights of the part up to it, as ``best_step`` and ``val_loss`` are those of its step
- ``base``, ``sampler``: the parts of a crossed formulation's name
- ``cell``: the id of the training
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from analysis.runs import recipe_fields, spellings
from bench.config import kept_weights, sampling_settings, time_grids
from bench.config.sampling_settings import ControlSetting
from bench.metrics import run_metrics
from bench.metrics.metric import Metric
from flowbench._core.errors import UserError, nearest
from flowbench._core.grammar import PLAIN
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

REQUIRED = ("formulation", "dataset", "weights", *sampling_settings.NEEDED, "clip", "fid")
CONTROL = ("dataset", *sampling_settings.CONTROL)
"""A control setting of the study."""
SETTING = ("dataset", "seed", *sampling_settings.CONTROL)
KEY = ("formulation", *SETTING)
COUNTS = ("untrained_loss", "parameters", "train_flops", "best_step")
STATUSES = ("done", "diverged", "failed", "missing", "pending")
PHASES = ("rank", "confirm", "race")
TEXTS = ("recipe", "base", "sampler", "cell")
SIZES = {"model.depth", "training.steps"}
"""Fields of a recipe in which the trainings of a scaling experiment differ."""


@dataclass(frozen=True, eq=False)
class Results:
    """Checked rows of a results table (`check`), and what their run declares.

    * ``metrics``: by name, in the order in which they are shown
    * ``real_scores``: by dataset, what real images score (`analysis.runs.real_scores`)
    * ``damaged``: sentences about files that cannot be read; ``where``: the conditions that chose the rows
    """

    frame: pd.DataFrame
    metrics: Mapping[str, Metric]
    real_scores: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()
    where: tuple[str, ...] = ()

    def only(self, kept: pd.Series[bool] | NDArray[np.bool_]) -> Self:
        """The rows of a mask."""
        return replace(self, frame=self.frame[kept])

    def phase(self, *names: str) -> Self:
        """The rows of some phases. Of ``rank`` are those that take part in the ranking, not the confirmation's nor those
        of the later seeds of a race. Weights of milestones take part only where a condition on ``weights`` chose them."""
        kept = self.frame["phase"].isin(names)
        if not any(condition.partition("=")[0] == "weights" for condition in self.where):
            kept &= self.frame["weights"].map(kept_weights.milestone).isna()
        return self.only(kept)

    def formulations(self, *names: str) -> Self:
        """The rows of some formulations."""
        return self.only(self.frame["formulation"].isin(names))


@dataclass(frozen=True)
class Columns:
    """The columns of a table that declares certain metrics."""

    metrics: tuple[str, ...]

    @property
    def numbers(self) -> tuple[str, ...]:
        """Those of numbers that may be absent."""
        return (*self.metrics, *(f"{metric}_stderr" for metric in self.metrics), *COUNTS)

    @property
    def numeric(self) -> tuple[str, ...]:
        """Those of numbers."""
        return (*self.numbers, "steps", "cfg", "seed")

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the metrics' recipes."""
        return tuple(f"{metric}_name" for metric in self.metrics)

    @property
    def known(self) -> tuple[str, ...]:
        """Every column that is read."""
        return (*KEY, *self.numbers, *self.names, "status", "phase", *TEXTS)


def check(frame: pd.DataFrame, where: str = "the table", metrics: Iterable[Metric] | None = None) -> Results:
    """The results in ``frame``, with the schema's columns typed and defaults filled in; ``metrics`` are those that its run
    declares, by default those shipped.

    Names of columns are read without case and blanks, also from the index; guidance scales are rounded to
    `bench.config.sampling_settings.DIGITS` digits, and numbers in our formulations' names have one spelling. Warns
    (`Notice`) of columns that are nearly known ones, of numbers that no metric declares, and of labels that look alike.

    Raises `UserError` for missing columns, no rows, values of a wrong kind, duplicate rows and an unknown status, naming
    the column and the row (counted from 1 without the header).
    """
    declared = {m.name: m for m in (run_metrics.columns() if metrics is None else metrics)}
    there = Columns(tuple(declared))
    out = spellings.recognised(frame, there.known, where)
    missing = [column for column in REQUIRED if column not in out.columns]
    if missing:
        found = ", ".join(map(str, out.columns[:20]))
        what = f"column{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
        raise UserError(f"{where} lacks the {what}; it has {found}")
    if out.empty:
        raise UserError(f"{where} has no rows: nothing was measured yet")
    for column in ("formulation", "dataset", "weights"):
        out[column] = _text(out, column, where)
    out["formulation"] = out["formulation"].map(spellings.canonical)
    for column in ("formulation", "dataset", "weights"):
        spellings.warn_of_lookalikes(out[column], column, where)
    out["seed"] = _integers(out, "seed", where, lowest=0) if "seed" in out else 0
    out["steps"] = _integers(out, "steps", where, lowest=1)
    out["cfg"] = _numbers(out, "cfg", where, needed=True).map(_rounded)
    out["solver"] = _words(out, "solver", sampling_settings.Setting.solver)  # of plugins too
    wrong = ~out["solver"].astype(str).str.fullmatch(PLAIN.pattern)
    _fail("solver", wrong, out["solver"], where, "the name of a solver")
    for name, canonical in {"grid": time_grids.canonical, **sampling_settings.NAMED}.items():
        usual = str(getattr(sampling_settings.Setting, name))
        out[name] = _words(out, name, usual).map(partial(_canonical, where, canonical))
    for column in there.numbers:
        if column in out:
            out[column] = _numbers(out, column, where)
    out["status"] = _word(out, "status", STATUSES, where)
    out["phase"] = _word(out, "phase", PHASES, where)
    for column in (*there.names, *TEXTS):
        if column in out:
            out[column] = out[column].astype(object).where(~_absent(out[column]), None)
    if "recipe" in out:
        out["recipe"] = _recipes(out["recipe"], where)
    _check_unique(out, where)
    return Results(out, declared)


def controls(frame: pd.DataFrame) -> list[ControlSetting]:
    """The control setting of each row of a checked table, without its dataset."""
    rows = zip(*(frame[name].tolist() for name in sampling_settings.CONTROL), strict=True)
    return [ControlSetting(**dict(zip(sampling_settings.CONTROL, row, strict=True))) for row in rows]


def comparable(found: Results, where: str = "the table") -> None:
    """Raise `UserError` unless all rows may stand in one ranking: one recipe of training and measuring,
    and for each dataset one recipe of every metric. The error names the parts that differ."""
    frame = found.frame
    if "recipe" in frame:
        recipes = [str(r) for r in frame["recipe"].dropna().unique()]
        if len(recipes) > 1:
            parts = recipe_fields.differing(recipes)
            apart = "; ".join(
                f"{name} {' and '.join(map(str, values[:6]))}" for name, values in parts.items()
            )
            chosen = " ".join(f"{name}={values[0]}" for name, values in parts.items())
            if "model.architecture" in parts:
                chosen = f"model={recipe_fields.network(parts['model.architecture'][0])}"
            sizes = "; analysis.scaling compares sizes" if parts.keys() <= SIZES else ""
            raise UserError(
                f"{where} mixes {len(recipes)} recipes, which cannot be compared ({apart}): "
                f"choose one, e.g. --where {chosen}{sizes}"
            )
    for column in Columns(tuple(found.metrics)).names:
        if column not in frame:
            continue
        for dataset, names in frame.dropna(subset=[column]).groupby("dataset", observed=True)[column]:
            several = list(names.astype(str).unique())
            if len(several) > 1:
                mixed = f"{len(several)} recipes of {column.removesuffix('_name')} on {dataset!r}"
                parts_of = difference(several[0], several[1])
                raise UserError(
                    f"{where} mixes {mixed}, which cannot be compared: {parts_of}; rank them apart"
                )


def recipe(name: str) -> dict[str, str]:
    """The parts of a metric's full name, e.g. ``{"extractor": .., "preprocessing": .., "ref": .., "n": ..}``."""
    match = re.fullmatch(r"(\w+)\[(.*)\]", name)
    if not match:
        return {"name": name}
    labels, parts = ["extractor", "preprocessing"], {"metric": match[1]}
    for part in match[2].split(","):
        key, equals, value = part.partition("=")
        label = key if equals else labels.pop(0) if labels else f"part {len(parts)}"
        parts[label] = value if equals else part
    return parts


def difference(one: str, other: str) -> str:
    """The parts in which two recipes of a metric differ, in words."""
    a, b = recipe(one), recipe(other)
    parts = [k for k in {**a, **b} if a.get(k) != b.get(k)]
    return "; ".join(f"{k} {a.get(k, 'absent')} against {b.get(k, 'absent')}" for k in parts)


def _absent(values: pd.Series[Any]) -> pd.Series[Any]:
    if pd.api.types.is_numeric_dtype(values):
        return values.isna()
    text = values.astype(object).where(values.notna(), "").astype(str).str.strip().str.lower()
    return text.isin(spellings.ABSENT)


def _fail(column: str, bad: pd.Series[Any], values: pd.Series[Any], where: str, wanted: str) -> None:
    if bad.any():
        row = int(bad.to_numpy().argmax())
        raise UserError(f"{where}, row {row + 1}: {column} is {str(values.iloc[row])!r}, not {wanted}")


def _text(frame: pd.DataFrame, column: str, where: str) -> pd.Series[Any]:
    values = frame[column]
    names = values.astype(str).str.strip()
    lines = names.str.contains(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
    _fail(column, values.isna() | (names == "") | lines, values, where, "a name on one line")
    return names


def _numbers(frame: pd.DataFrame, column: str, where: str, needed: bool = False) -> pd.Series[Any]:
    values = frame[column]
    absent = _absent(values)
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        numbers = values.astype("float64")
    else:
        numbers = pd.to_numeric(values.where(~absent, None), errors="coerce").astype("float64")
    bad = numbers.isna() & (True if needed else ~absent)
    _fail(column, bad, values, where, "a number")
    return numbers


def _integers(frame: pd.DataFrame, column: str, where: str, lowest: int) -> pd.Series[Any]:
    numbers = _numbers(frame, column, where, needed=True)
    numbers = numbers.where(numbers % 1 == 0, numbers.map(_rounded))
    bad = (numbers % 1 != 0) | (numbers < lowest) | (numbers.abs() > 2**53)
    _fail(column, bad, frame[column], where, f"a whole number from {lowest}")
    return numbers.astype("int64")


def _rounded(value: float) -> float:
    """A number that identifies rows: what differs beyond these digits is rounding."""
    return float(f"{value:.{sampling_settings.DIGITS}g}")


def _recipes(values: pd.Series[Any], where: str) -> pd.Series[Any]:
    """Recipes as canonical JSON: equal ones are equal texts."""
    texts, canonical = values.map(lambda v: v if v is None else str(v)), dict[str, str]()
    for text in texts.dropna().unique():
        try:
            kept = json.loads(text)
        except ValueError:
            kept = None
        if not isinstance(kept, dict):
            raise UserError(f"{where} has the recipe {text[:60]!r}, which is no JSON object")
        canonical[text] = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    return texts.map(canonical).astype(object).where(texts.notna(), None)


def _word(frame: pd.DataFrame, column: str, known: tuple[str, ...], where: str) -> pd.Series[Any]:
    """A column of one of the ``known`` words; the first is the default."""
    values = _words(frame, column, known[0])
    for value in values.unique():
        if value not in known:
            raise UserError(f"{where} has the unknown {column} {value!r}; {nearest(value, known)}")
    return values


def _canonical(where: str, canonical: Callable[[str], str], value: str) -> str:
    try:
        return canonical(value)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _words(frame: pd.DataFrame, column: str, default: str) -> pd.Series[Any]:
    """A column of words without case."""
    if column not in frame:
        return pd.Series(default, index=frame.index, dtype=object)
    values = frame[column].astype(object)
    return values.where(~_absent(values), default).astype(str).str.strip().str.lower().astype(object)


def _check_unique(frame: pd.DataFrame, where: str) -> None:
    key = [*KEY, "recipe"] if "recipe" in frame else list(KEY)
    twice = frame.duplicated(key, keep=False)
    if twice.any():
        row = frame[twice].iloc[0]
        what = ", ".join(f"{column} {row[column]}" for column in KEY)
        raise UserError(f"{where} has {int(twice.sum())} rows that repeat one another, first: {what}")
