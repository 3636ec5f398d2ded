"""Registries: a kind of thing that studies vary, its members by name, and what every member must pass.

A member is added by ``@register("word(a,b)")`` on a function that makes it: here, in a plugin file, or in an installed
package under the entry-point group ``flowbench.<kind>s``. ``python -m bench.plugins`` lists and checks all kinds.
"""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from flowbench._core.errors import UserError, nearest
from flowbench._core.grammar import Call, parse

_TEMPLATE = re.compile(
    r"([A-Za-z][\w.+\-]*(?:/[A-Za-z][\w.+\-]*)*)\s*(?:\(\s*([A-Za-z_]\w*(?:\s*,\s*[A-Za-z_]\w*)*)\s*\))?"
)


T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A registered name with its parameters; ``defaults`` holds the trailing ones that may be left out."""

    name: str
    parameters: tuple[str, ...]
    defaults: dict[str, Any]
    function: Callable[..., T]

    @property
    def template(self) -> str:
        """``word(a,b)``, for messages and listings."""
        return f"{self.name}({','.join(self.parameters)})" if self.parameters else self.name

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    def complete(self, given: tuple[Any, ...], whole: str) -> tuple[Any, ...]:
        """Arguments with the defaults filled in, or raise one sentence naming the missing ones."""
        missing = [p for p in self.parameters[len(given) :] if p not in self.defaults]
        if missing or len(given) > len(self.parameters):
            raise UserError(f"{whole!r} has {len(given)} parameters, but the form is {self.template!r}")
        return given + tuple(self.defaults[p] for p in self.parameters[len(given) :])


class Registry(Generic[T]):
    """The members of one kind, such as ``"sampler"``, by name.

    Args:
        kind: the noun in messages; plugins of installed packages are found under ``flowbench.<kind>s``.
        taken: whether a name has a meaning already without being registered.
        check: what a member must pass, by its name: returns a line for each passed check, raises :class:`UserError`.
    """

    def __init__(
        self,
        kind: str,
        taken: Callable[[str], bool] = lambda name: False,
        check: Callable[[str], list[str]] = lambda name: [],
    ) -> None:
        self.kind, self.group, self.check = kind, f"flowbench.{kind}s", check
        self.entries: dict[str, Entry[T]] = {}
        self.caches: list[Callable[[], object]] = []
        """What to call when a name means something else than before."""
        self._taken = taken
        self._loaded = False
        KINDS[kind] = self

    def register(self, template: str) -> Callable[[F], F]:
        """Decorator: ``@register("word(a,b)")`` on a function of numbers; defaults may be left out.

        Raises:
            UserError: a malformed template, parameters that differ from the function's, or a name that
                exists.
        """
        match = _TEMPLATE.fullmatch(template.strip())
        if match is None:
            raise UserError(f"cannot register {template!r}: expected a form such as 'my/path(s)'")
        name, parameters = match[1], tuple(p.strip() for p in (match[2] or "").split(",") if p.strip())

        def decorate(function: F) -> F:
            signature = inspect.signature(function).parameters
            if tuple(signature) != parameters:
                raise UserError(
                    f"cannot register {template!r}: the function takes ({', '.join(signature)}), "
                    f"the name has ({', '.join(parameters)})"
                )
            if name in self.entries or self._taken(name):
                raise UserError(f"cannot register {template!r}: the {self.kind} {name!r} exists already")
            defaults = {k: p.default for k, p in signature.items() if p.default is not p.empty}
            self.entries[name] = Entry(name, parameters, defaults, function)
            return function

        return decorate

    def __getitem__(self, name: str) -> Entry[T]:
        """The entry of that name. Raises :class:`UserError` with the nearest names."""
        if (entry := self.find(name)) is None:
            raise self.unknown(name)
        return entry

    def make(self, spec: str, kind: type[Any]) -> tuple[str, T]:
        """The canonical name of a spec, and the member that it makes: ``make("muon(0.9)", Method)``. Numbers only.

        Raises:
            UserError: an unknown name (with the nearest ones), parameters that do not fit, or a function that returns no
                ``kind``.
        """
        call = parse(spec)
        entry = self[call.word]
        if any(isinstance(argument, Call) for argument in call.args):
            raise UserError(
                f"{self.kind} {spec!r}: its parameters are numbers, the form is {entry.template!r}"
            )
        args = entry.complete(call.args, spec)
        with blame(f"{self.kind} {spec!r}"):
            made = entry.function(*args)
            if not isinstance(made, kind):
                wanted = f"a{'n' * (kind.__name__[0] in 'AEIOU')} {kind.__name__}"
                raise UserError(
                    f"{self.kind} {entry.template!r} returned {type(made).__name__}, not {wanted}"
                )
        return str(Call(entry.name, args)), made

    def names(self) -> list[str]:
        """Every name, those of installed packages too."""
        self.load_installed()
        return list(self.entries)

    def find(self, name: str) -> Entry[T] | None:
        """The entry of that name; installed packages are asked only if it is not known yet."""
        if name not in self.entries:
            self.load_installed()
        return self.entries.get(name)

    def unknown(self, name: str) -> UserError:
        """The error for a name that is not registered."""
        return UserError(f"no {self.kind} is called {name!r}; {nearest(name, self.entries)}")

    def load_installed(self) -> None:
        """Imports, once, what installed packages offer under ``group``; importing is what registers.

        Raises:
            UserError: naming the entry point whose import failed.
        """
        if self._loaded:
            return
        self._loaded = True  # first, since what is imported may ask for names itself
        try:
            for point in entry_points(group=self.group):
                with self.all_or_nothing(), blame(f"entry point {point.name!r} of group {self.group!r}"):
                    point.load()
        except BaseException:
            self._loaded = False
            raise

    @contextmanager
    def all_or_nothing(self, without: Iterable[str] = ()) -> Iterator[None]:
        """Forgets what was registered inside the block if the block raises. Names of ``without`` are free inside, and mean
        again what they did if it raises."""
        before = dict(self.entries)
        self._forget(without)
        try:
            yield
        except BaseException:
            self.entries.clear()
            self.entries.update(before)
            raise
        finally:
            self._forget(())

    def _forget(self, names: Iterable[str]) -> None:
        for name in names:
            self.entries.pop(name, None)
        for clear in self.caches:
            clear()


KINDS: dict[str, Registry[Any]] = {}
"""Every registry by its kind, in the order in which they were made."""


@contextmanager
def blame(what: str, file: str | None = None) -> Iterator[None]:
    """Turns any exception of foreign code into one sentence that names ``what`` and the file and line.

    The line is the innermost one inside ``file`` or, without ``file``, the innermost of all.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        place = where(error, file)
        if isinstance(error, UserError) and file is None:
            raise
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        message = " ".join((error.msg if isinstance(error, SyntaxError) else str(error)).split())
        raise UserError(f"{what}{place}: {kind}{message}") from error


def where(error: BaseException, file: str | None = None) -> str:
    """``, line 7`` of ``file``, or `` (my.py, line 7)`` of the innermost frame."""
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return f", line {error.lineno}" if file else f" ({error.filename}, line {error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    if file is not None:
        lines = [f.lineno for f in frames if f.filename == file]
        return f", line {lines[-1]}" if lines else ""
    own = [f for f in frames if not f.filename.startswith((sys.prefix, "<"))] or list(frames)
    return f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
