"""``NAME[:option=value,...]`` and ``NAME:ARGUMENT``: a member of a registry with what its function takes.

A function whose parameters have defaults takes options by name. One whose only parameter has no default takes all that
follows the colon as it stands, such as a path, where arguments are allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from flowbench._core.errors import UserError, nearest
from flowbench._core.registry import Registry, blame

BOOLEANS = {"True": True, "true": True, "1": True, "False": False, "false": False, "0": False}


T = TypeVar("T")


class Specs(Generic[T]):
    """Reads the specs of a ``registry`` of members of type ``made``, as the command-line option ``flag`` takes them. All
    methods raise :class:`UserError` that names the flag, what is wrong, and the nearest choice."""

    def __init__(self, registry: Registry[T], made: type[T], flag: str, arguments: bool = False) -> None:
        self.registry, self.made, self.flag, self.arguments = registry, made, flag, arguments

    def make(self, spec: str) -> T:
        """The member with its options; an error inside a plugin names file and line."""
        entry, values = self.registry[spec.partition(":")[0]], self.values(spec)
        with blame(f"{self.registry.kind} {spec!r}"):
            made = entry.function(**values)
            if not isinstance(made, self.made):
                kind, found = self.registry.kind, type(made).__name__
                raise UserError(f"{kind} {entry.template!r} returned {found} instead of {self.made.__name__}")
        return made

    def argument(self, spec: str) -> str | None:
        """The name of the parameter that takes all that follows the colon; None if there is none."""
        entry = self.registry[spec.partition(":")[0]]
        alone = self.arguments and len(entry.parameters) == 1 and not entry.defaults
        return entry.parameters[0] if alone else None

    def split(self, spec: str) -> tuple[str, dict[str, str]]:
        """Name and options as text."""
        kind, _, rest = spec.partition(":")
        options: dict[str, str] = {}
        for part in filter(None, rest.split(",")):
            name, equals, value = part.partition("=")
            if not equals or not value or name in options:
                raise UserError(
                    f"{self.flag} {spec!r}: {part!r} is no option=value, for example {kind}:NAME=5"
                )
            options[name] = value
        return kind, options

    def values(self, spec: str) -> dict[str, Any]:
        """The given options as values, each of the type of its default; without one, a number if it can be read as such."""
        if name := self.argument(spec):
            kind, _, rest = spec.partition(":")
            if not rest:
                raise UserError(f"{self.flag} {spec!r} names no {name}: give {kind}:{name.upper()}")
            return {name: rest}
        kind, given = self.split(spec)
        entry = self.registry[kind]
        if unknown := next((name for name in given if name not in entry.parameters), None):
            choice = nearest(unknown, entry.parameters) if entry.parameters else "it has none"
            raise UserError(f"{self.flag} {spec!r}: {kind} has no option {unknown!r}; {choice}")
        for name in entry.parameters:
            if name not in given and name not in entry.defaults:
                raise UserError(f"{self.flag} {spec!r} lacks {name}: for example {kind}:{name}=2")
        return {name: self._value(spec, name, text, entry.defaults.get(name)) for name, text in given.items()}

    def canonical(self, spec: str) -> str:
        """The spec with only those options that differ from their defaults, in the order of the function."""
        kind, values = spec.partition(":")[0], self.values(spec)
        if self.argument(spec):
            return spec
        entry = self.registry[kind]
        kept = [
            f"{name}={values[name]}"
            for name in entry.parameters
            if name in values and values[name] != entry.defaults.get(name)
        ]
        return ":".join([kind, ",".join(kept)]) if kept else kind

    def _value(self, spec: str, name: str, text: str, usual: Any) -> Any:
        kinds: tuple[Callable[[str], Any], ...] = (int, float, str) if usual is None else (type(usual),)
        if isinstance(usual, bool):
            kinds = (BOOLEANS.__getitem__,)
        for kind in kinds:
            try:
                return kind(text)
            except (ValueError, KeyError):
                continue
        raise UserError(
            f"{self.flag} {spec!r}: {name}={text} is no {type(usual).__name__}, for example {name}={usual}"
        )
