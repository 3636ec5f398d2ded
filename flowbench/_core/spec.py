"""``NAME[:option=value,...]`` and ``NAME:ARGUMENT[,option=value,...]``: a member of a registry with what its function takes.

A function whose parameters have defaults takes options by name. Where arguments are allowed, a first parameter without a
default takes what follows the colon as it stands, such as a path, up to the options behind it; one with the default None
may be left out.
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
        """The name of the parameter that takes what follows the colon; None if there is none."""
        entry = self.registry[spec.partition(":")[0]]
        takes = self.arguments and entry.parameters and entry.defaults.get(entry.parameters[0]) is None
        return entry.parameters[0] if takes else None

    def split(self, spec: str) -> tuple[dict[str, str], dict[str, str]]:
        """The argument and the options as text, both by the names of their parameters."""
        kind, colon, rest = spec.partition(":")
        entry, name, parts = (
            self.registry[kind],
            self.argument(spec),
            [part for part in rest.split(",") if part],
        )
        argument: dict[str, str] = {}
        if name:
            parts, behind = rest.split(","), list[str]()
            while parts and "=" in parts[-1] and parts[-1].partition("=")[0] in entry.parameters[1:]:
                behind.insert(0, parts.pop())
            if text := ",".join(parts):
                argument[name] = text
            elif name not in entry.defaults or (colon and not rest):
                raise UserError(f"{self.flag} {spec!r} names no {name}: give {kind}:{name.upper()}")
            parts = behind
        options: dict[str, str] = {}
        for part in parts:
            option, equals, value = part.partition("=")
            if not equals or not value or option in options:
                raise UserError(
                    f"{self.flag} {spec!r}: {part!r} is no option=value, for example {kind}:NAME=5"
                )
            options[option] = value
        return argument, options

    def values(self, spec: str) -> dict[str, Any]:
        """The argument as it stands, and the given options as values, each of the type of its default; without one, a number
        if it can be read as such."""
        kind, (argument, given) = spec.partition(":")[0], self.split(spec)
        entry = self.registry[kind]
        if unknown := next((name for name in given if name not in entry.parameters), None):
            choice = nearest(unknown, entry.parameters) if entry.parameters else "it has none"
            raise UserError(f"{self.flag} {spec!r}: {kind} has no option {unknown!r}; {choice}")
        for name in entry.parameters:
            if name not in argument and name not in given and name not in entry.defaults:
                raise UserError(f"{self.flag} {spec!r} lacks {name}: for example {kind}:{name}=2")
        values = {
            name: self._value(spec, name, text, entry.defaults.get(name)) for name, text in given.items()
        }
        return {**argument, **values}

    def canonical(self, spec: str) -> str:
        """The spec with only those options that differ from their defaults, in the order of the function."""
        kind, values, argument = spec.partition(":")[0], self.values(spec), self.argument(spec)
        entry = self.registry[kind]
        kept = [
            str(values[name]) if name == argument else f"{name}={values[name]}"
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
