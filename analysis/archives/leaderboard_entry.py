"""A submission to the leaderboard, a folder, and whether it keeps the rules of its track.

results/leaderboard/NAME/
    submission.json     author, date, formulation, plugin, command, track (`Submission`)
    plugin.py           registers the formulation; none for one of the catalogue
    log.txt             what the command printed
    ...                 the archive of the run (`analysis.archive`): results, plan, provenance
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.runs import run, schema, sources
from analysis.runs.recipe_fields import differing
from analysis.runs.run import Run
from analysis.runs.schema import Results
from bench.config.sampling_settings import CONTROL
from flowbench._core.errors import UserError, nearest
from flowbench._core.grammar import numbers_in_glob
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

ABOUT, PLUGIN, LOG = "submission.json", "plugin.py", "log.txt"
NAMES = ("clip_name", "fid_name")
"""Columns whose values carry how a metric was measured."""


@dataclass(frozen=True)
class Track:
    """A fixed protocol: that of the archived run ``reference``, over ``seeds`` seeds from 0 or more."""

    reference: str
    baseline: str = "rf/lognorm(0.00,1.00)"
    primary: str = "fid"
    seeds: int = 4


TRACKS = {"digits": Track("headline-digits")}


@dataclass(frozen=True)
class Submission:
    """``plugin`` is ``plugin.py``, or empty for a formulation of the catalogue; ``date`` is ISO 8601."""

    author: str
    date: str
    formulation: str
    plugin: str
    command: str
    track: str


def read(folder: Path) -> Submission:
    """The submission in a folder. Raises `UserError` for what is none."""
    file = folder / ABOUT
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error})") from None
    known = [field.name for field in fields(Submission)]
    if not isinstance(kept, dict) or not all(isinstance(value, str) for value in kept.values()):
        raise UserError(f"{file} is no object of texts: it needs {', '.join(known)}")
    for name in kept.keys() - set(known):
        raise UserError(f"{file} has an unknown entry {name!r}; {nearest(name, known)}")
    for name in known:
        if not kept.get(name) and name != "plugin":
            raise UserError(f"{file} lacks {name!r}")
    made = Submission(**({"plugin": ""} | kept))
    try:
        date.fromisoformat(made.date)
    except ValueError:
        raise UserError(f"{file}: the date {made.date!r} is not like 2026-11-29") from None
    if made.plugin not in ("", PLUGIN):
        raise UserError(f"{file}: the plugin is {made.plugin!r}: name its file {PLUGIN!r}")
    if made.track not in TRACKS:
        raise UserError(f"{file}: there is no track {made.track!r}; {nearest(made.track, TRACKS)}")
    return made


def checked(folder: Path, made: Submission, reference: Run) -> Results:
    """The results of a submission's formulation and of the baseline, if it keeps the rules of its track.

    Raises `UserError` for the first rule that it breaks: files that are missing; a formulation that its run has not, or that
    fails the conformance check, or is not what was trained; another recipe, data set or control setting than the
    ``reference``'s; a missing baseline, too few seeds, or a seed that is left out or not finished.
    """
    track = TRACKS[made.track]
    for name in (LOG, sources.CELLS, *([made.plugin] if made.plugin else [])):
        if not (folder / name).is_file() or not (folder / name).stat().st_size:
            what = "archive the run there first" if name == sources.CELLS else "add it"
            raise UserError(f"{folder} has no {name}: {what}")
    found = run.read(folder)
    name = numbers_in_glob(made.formulation)
    if name == track.baseline:
        raise UserError(f"{folder}: {name} is the baseline of the track, with which others are compared")
    rows = found.phase("rank")
    _same_protocol(folder, rows.frame, reference.phase("rank").frame)
    there = list(dict.fromkeys(rows.frame["formulation"]))
    for wanted in (track.baseline, name):
        if wanted not in there:
            what = "the baseline " if wanted == track.baseline else ""
            raise UserError(f"{folder}: its run has not trained {what}{wanted}; {nearest(wanted, there)}")
    pair = rows.formulations(name, track.baseline)
    planned = {c.seed for c in found.manifests[0].cells if c.formulation in (name, track.baseline)}
    _whole(folder, pair.frame, planned, track)
    _conforms(folder, made, found, name)
    return pair


def _same_protocol(folder: Path, rows: pd.DataFrame, reference: pd.DataFrame) -> None:
    """Raise `UserError` unless data sets, recipes, settings and metrics are the reference's."""
    recipes = [str(frame["recipe"].iloc[0]) for frame in (reference, rows)]
    for field, (theirs, ours) in differing(recipes).items():
        raise UserError(f"{folder}: another recipe than the track's: {field} is {ours}, not {theirs}")
    parts: dict[str, list[set[Any]]] = {
        "data set": [set(frame["dataset"]) for frame in (reference, rows)],
        "recipe": [set(frame["recipe"]) for frame in (reference, rows)],
        "control setting": [{c.name for c in schema.controls(frame)} for frame in (reference, rows)],
    }
    parts |= {name: [set(frame[name].dropna()) for frame in (reference, rows)] for name in NAMES}
    for what, (theirs, ours) in parts.items():
        if ours - theirs:
            raise UserError(
                f"{folder}: another {what} than the track's: {_first(ours - theirs)}, not {_first(theirs)}"
            )
        if theirs - ours:
            raise UserError(f"{folder}: without the track's {what} {_first(theirs - ours)}")


def _first(values: set[Any]) -> str:
    return str(min(values, key=str)) if values else "none"


def _whole(folder: Path, pair: pd.DataFrame, planned: set[int], track: Track) -> None:
    """Raise `UserError` unless both formulations have ended all seeds from 0 to the last one planned, and enough of them."""
    last = max(planned | set(map(int, pair["seed"])))
    settings = len(pair[list(CONTROL)].drop_duplicates())
    for name, rows in pair.groupby("formulation", observed=True):
        states = rows.groupby("seed")["status"].agg(list)
        for seed in range(last + 1):
            found = states.get(seed, [])
            if len(found) < settings:
                raise UserError(
                    f"{folder}: seed {seed} of {name} is left out: a seed that diverged or failed is shown"
                )
            if set(found) - {"done", "diverged"}:
                raise UserError(f"{folder}: seed {seed} of {name} is not finished: run the command again")
    if pair["seed"].min() != 0 or last + 1 < track.seeds:
        raise UserError(
            f"{folder}: seeds {pair['seed'].min()} to {last}, and the track takes {track.seeds} or more from 0"
        )


def _conforms(folder: Path, made: Submission, found: Run, name: str) -> None:
    """Raise `UserError` unless the formulation passes the conformance check and is the one that was trained."""
    import numpy as np

    import formulations
    from formulations.check_formulation import probe

    if made.plugin:
        formulations.load_plugin(folder / made.plugin)
    try:
        formulation = formulations.get(name)
        formulations.check(formulation)
    except UserError as error:
        raise UserError(f"{folder}: {error}") from error
    for cell in found.manifests[0].cells:
        if cell.formulation == name:
            kept = sources.json_of(found.source, cell.id, "config.json").get("coefficients")
            if kept is None or not np.allclose(
                kept, probe(formulation), rtol=1e-4, atol=1e-6, equal_nan=True
            ):
                raise UserError(
                    f"{folder}: {made.plugin or 'the catalogue'} makes another {name} than was trained"
                )
