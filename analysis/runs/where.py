"""``--where``: some of the rows of a results table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeVar

from analysis.runs import recipe_fields
from analysis.runs.schema import KEY, Results
from flowbench._core.errors import UserError, nearest
from flowbench._core.grammar import numbers_in_glob
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

COLUMNS = (*KEY, "base", "sampler")


Chosen = TypeVar("Chosen", bound=Results)


def choose(found: Chosen, conditions: Iterable[str], where: str = "the table") -> Chosen:
    """The rows that meet all ``conditions``, each ``NAME=VALUE``; `Results.where` keeps these.

    A name is one of `COLUMNS`, ``model`` for the network, or a dotted field of the recipe: ``dataset=shapes``, ``steps=50``,
    ``model.depth=4``. A value of text may be a glob: ``formulation=rf/*``. Numbers in it may have any spelling:
    ``formulation=rf/lognorm(0,1)``.

    Raises `UserError` for an unknown name, and for a value that no row has, with the values that there are.
    """
    frame, conditions = found.frame, tuple(conditions)
    for condition in conditions:
        name, equals, wanted = condition.partition("=")
        if not equals:
            raise UserError(f"--where {condition!r} is not NAME=VALUE, for example steps=50")
        values = _values(found.frame, name).loc[frame.index]
        kept = values.map(lambda value, wanted=wanted: _meets(value, wanted))
        if not kept.any():  # in another spelling of its numbers
            spelt = numbers_in_glob(wanted)
            kept = values.map(lambda value, spelt=spelt: _meets(_spelt(value), spelt))
        if not kept.any():
            among = "" if frame is found.frame else " among those of the conditions before"
            raise UserError(
                f"--where {condition}: {where} has no such rows{among}; {_instead(values, wanted)}"
            )
        frame = frame[kept.astype(bool)]
    if not conditions:
        return found
    return replace(found, frame=frame.reset_index(drop=True), where=(*found.where, *conditions))


def _values(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    if name in COLUMNS and name in frame:
        return frame[name]
    recipes = [str(r) for r in frame["recipe"].dropna().unique()] if "recipe" in frame else []
    fields = {recipe: recipe_fields.flat(recipe) for recipe in recipes}
    if name == recipe_fields.NETWORK and recipes:
        return frame["recipe"].map({recipe: recipe_fields.network_of(recipe) for recipe in recipes})
    known = list(dict.fromkeys(field for flat in fields.values() for field in flat))
    if name not in known:
        columns = [column for column in COLUMNS if column in frame]
        raise UserError(f"--where {name}=...: unknown name; {nearest(name, [*columns, *known])}")
    return frame["recipe"].map({recipe: flat.get(name) for recipe, flat in fields.items()})


def _instead(values: pd.Series[Any], wanted: str) -> str:
    """The values that the rows left have: those like ``wanted``, or all."""
    there = list({repr(v): v for v in values.dropna()}.values())  # lists, too, which have no hash
    if all(isinstance(v, str) for v in there):
        return nearest(wanted, there)
    return "known: " + ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in sorted(there, key=str))


def _spelt(value: Any) -> Any:
    return numbers_in_glob(value) if isinstance(value, str) else value


def _meets(value: Any, wanted: str) -> bool:
    if isinstance(value, bool) or value is None or value != value:
        return str(value) == wanted
    if isinstance(value, str):
        return value == wanted or fnmatchcase(value, wanted)
    try:
        return float(value) == float(wanted)
    except (TypeError, ValueError):
        return str(value) == wanted
