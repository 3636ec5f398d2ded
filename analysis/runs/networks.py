"""Runs that train several networks: which network a row is of, and tables in which networks stand apart.

The network is an axis like the dataset: a ranking is of one of them, or has each with its own settings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from analysis.runs.recipe_fields import differing, network_of
from analysis.runs.run import Run
from analysis.runs.schema import Results
from analysis.runs.sources import Pixels, Source
from bench.runfolder.manifest import Manifest
from flowbench._core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

Found = TypeVar("Found", bound=Results)
WITH = " with "
"""Between the names of a data set, or of a formulation, and of a network."""


class Renamed:
    """The cells of another source (`analysis.runs.sources.Source`) under other names of data sets; ``places`` has the
    data set and the network of each."""

    def __init__(self, source: Source, places: Mapping[str, tuple[str, str]]) -> None:
        self.text, self.validations, self.samples = source.text, source.validations, source.samples
        self.pictures, self.commits = source.pictures, source.commits
        self.places, self._source = places, source

    def real_images(self, dataset: str, caption: str, most: int) -> Pixels | None:
        """See `analysis.runs.sources.Source`."""
        return self._source.real_images(self.places[dataset][0], caption, most)


def several(found: Results) -> bool:
    """Whether the rows' recipes differ in their networks and in nothing else, but for the networks' sizes."""
    if "recipe" not in found.frame or found.frame["recipe"].isna().any():
        return False
    parts = differing([str(recipe) for recipe in found.frame["recipe"].unique()])
    return "model.architecture" in parts and all("model" in name.split(".") for name in parts)


def apart(found: Found) -> Found:
    """The rows with the network as a part of the dataset's name, ``shapes with dit``, and no longer of the recipe:
    formulations are ranked within each network. Raises `UserError` for rows without a recipe, and for a network of several
    sizes."""
    names, frame = _networks(found), found.frame
    datasets = frame["dataset"].astype(str) + WITH + names
    pairs = zip(frame["dataset"].astype(str), names, strict=True)
    places = dict(zip(datasets, pairs, strict=True))
    scores = {
        named: found.real_scores[dataset]
        for named, (dataset, _) in places.items()
        if dataset in found.real_scores
    }
    made = replace(found, frame=frame.assign(dataset=datasets, recipe=_without(frame)), real_scores=scores)
    if not isinstance(made, Run):
        return made
    plans = tuple(map(_plan_apart, made.manifests))
    return replace(made, manifests=plans, source=Renamed(made.source, places))


def separated(found: Found) -> Found:
    """The rows of several networks :func:`apart`, others as they are."""
    return apart(found) if several(found) else found


def places(run: Run) -> Mapping[str, tuple[str, str]]:
    """The data set and the network by the name that the rows have, of networks that stand :func:`apart`; else empty."""
    return run.source.places if isinstance(run.source, Renamed) else {}


def crossed(found: Found) -> Found:
    """The rows with the network as a part of the formulation's name, where ``base`` is the formulation and ``sampler``
    the network. Raises `UserError` as :func:`apart`."""
    names, frame = _networks(found), found.frame
    whole = frame["formulation"].astype(str) + WITH + names
    return replace(
        found,
        frame=frame.assign(
            formulation=whole, base=frame["formulation"], sampler=names, recipe=_without(frame)
        ),
    )


def exchanged(found: Found) -> Found:
    """The rows with the network as the formulation, and the formulation as a part of the dataset's name, ``shapes with rf``:
    networks are compared within each formulation. Raises `UserError` as :func:`apart`."""
    names, frame = _networks(found), found.frame
    datasets = frame["dataset"].astype(str) + WITH + frame["formulation"].astype(str)
    return replace(found, frame=frame.assign(formulation=names, dataset=datasets, recipe=_without(frame)))


def _plan_apart(plan: Manifest) -> Manifest:
    """A plan whose cells have the network as a part of the data set's name."""
    names = [network_of(recipe.text) for recipe in plan.recipes]
    cells = (replace(cell, dataset=f"{cell.dataset}{WITH}{names[cell.recipe]}") for cell in plan.cells)
    return replace(plan, cells=tuple(cells))


def _networks(found: Results) -> pd.Series[Any]:
    frame = found.frame
    if "recipe" not in frame or frame["recipe"].isna().any():
        raise UserError("the network is part of the recipe, and this table has rows without one")
    names = frame["recipe"].map({recipe: network_of(str(recipe)) for recipe in frame["recipe"].unique()})
    for name, recipes in frame.groupby(names)["recipe"]:
        sizes = differing([str(recipe) for recipe in recipes.unique()])
        for field, values in sizes.items():
            raise UserError(
                f"{name} has several sizes ({field} {', '.join(map(str, values[:6]))}): choose one, for example with "
                f"--where {field}={values[0]}"
            )
    return names


def _without(frame: pd.DataFrame) -> pd.Series[Any]:
    """Recipes without their networks."""

    def rest(recipe: dict[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in recipe.items() if key != "model"}
        if kept.get("init"):
            kept["init"] = {**kept["init"], "cell": rest(kept["init"]["cell"])}
        return kept

    made = {recipe: json.dumps(rest(json.loads(str(recipe)))) for recipe in frame["recipe"].unique()}
    return frame["recipe"].map(made)
