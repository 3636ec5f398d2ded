"""The registry of formulations that plugins and installed packages add."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from flowbench._core.errors import UserError
from flowbench._core.grammar import Call
from flowbench._core.registry import Registry, blame
from formulations.formulation import Formulation
from formulations.paths import PATHS
from formulations.targets import TARGETS
from samplers.sampler_registry import registry as sampler_registry

ALIASES = {"x0": "x", "velocity": "u", "gvp": "cos", "trigflow": "trig"}


def taken(name: str) -> bool:
    """Whether the built-in grammar already gives ``name`` a meaning."""
    first, *rest = (ALIASES.get(word, word) for word in name.split("/"))
    if not rest:
        return first in TARGETS or first in {"rf", "edm"}
    if first in TARGETS:
        return rest[0] in PATHS
    return first in {"rf", "edm"} and (rest[0] in {"rf", "cos"} or rest[0] in sampler_registry.entries)


registry: Registry[Formulation] = Registry("formulation", taken)


def register(template: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator that adds a formulation: ``@register("my/path(s)")`` on a function of numbers.

    The function returns a ``Formulation``; parameters with defaults may be left out of a name.

    Raises:
        UserError: a malformed or existing name, or parameters that differ from the function's.
    """
    return registry.register(template)


def made_by_plugin(call: Call) -> Formulation:
    """Calls a registered function; its errors become one sentence with file and line."""
    entry = registry.entries[call.word]
    with blame(f"formulation {str(call)!r}"):
        made = entry.function(*call.args)
        if not isinstance(made, Formulation):
            raise UserError(
                f"formulation {entry.template!r} returned {type(made).__name__}, not a Formulation"
            )
    return made if made.formula else replace(made, formula=entry.summary)
