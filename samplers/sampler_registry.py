"""The registry of samplers, and ``get``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from flowbench._core.errors import UserError
from flowbench._core.grammar import Call, number, parse
from flowbench._core.registry import Entry, Registry, blame
from samplers.sampler import Sampler

registry: Registry[Sampler] = Registry("sampler")
ALIASES = {"shifted": "shift", "logitnormal": "lognorm"}


def register(template: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator that adds a sampler: ``@register("mine(a)")`` on a function that returns a ``Sampler``.

    A parameter spelled in capitals (``X``) takes a sampler instead of a number.

    Raises:
        UserError: a malformed or existing name, or parameters that differ from the function's.
    """
    return registry.register(template)


@lru_cache(maxsize=4096)
def get(spec: str) -> Sampler:
    """The sampler of that name, e.g. ``get("lognorm(0,1)")``; any spelling of the numbers is read.

    Raises:
        UserError: an unknown name (with the nearest ones), a parameter too many or too few or out of range.
    """
    return build(parse(spec))


registry.caches.append(get.cache_clear)


def build(call: Call) -> Sampler:
    """The sampler of a parsed name."""
    word = ALIASES.get(call.word, call.word)
    entry = registry.find(word)
    if entry is None:
        raise registry.unknown(word)
    args = _in_order(entry, call)
    with blame(f"sampler {str(call)!r}"):
        made = entry.function(*args)
        if not isinstance(made, Sampler):
            raise UserError(f"sampler {entry.template!r} returned {type(made).__name__}, not a Sampler")
    return replace(made, name=_name(entry, args))


def _in_order(entry: Entry[Sampler], call: Call) -> tuple[Any, ...]:
    """Numbers and samplers may come in either order; each goes to the next parameter of its kind."""
    numbers = [a for a in call.args if not isinstance(a, Call)]
    samplers = [build(a) for a in call.args if isinstance(a, Call)]
    ordered: list[Any] = []
    for parameter in entry.parameters:
        source: list[Any] = samplers if parameter.isupper() else numbers
        if source:
            ordered.append(source.pop(0))
        elif parameter not in entry.defaults:
            need = "a sampler" if parameter.isupper() else f"the number {parameter}"
            raise UserError(f"{str(call)!r} lacks {need}: the form is {entry.template!r}")
        else:
            default = entry.defaults[parameter]
            ordered.append(build(parse(default)) if isinstance(default, str) else default)
    if numbers or samplers:
        raise UserError(f"{str(call)!r} has too many parameters: the form is {entry.template!r}")
    return tuple(ordered)


def _name(entry: Entry[Sampler], args: tuple[Any, ...]) -> str:
    """Canonical name; a sampler argument that is the default is left out."""
    shown = []
    for parameter, value in zip(entry.parameters, args, strict=True):
        if isinstance(value, Sampler):
            if value.name != entry.defaults.get(parameter):
                shown.append(value.name)
        else:
            shown.append(number(value))
    return f"{entry.name}({','.join(shown)})" if shown else entry.name
