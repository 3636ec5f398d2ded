"""Names to functions: filled by ``@register("word(a,b)")`` here, in plugins and in installed packages."""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from flowbench._core.errors import UserError, nearest

_TEMPLATE = re.compile(
    r"([A-Za-z][\w.\-]*(?:/[A-Za-z][\w.\-]*)*)\s*(?:\(\s*([A-Za-z_]\w*(?:\s*,\s*[A-Za-z_]\w*)*)\s*\))?"
)


@dataclass(frozen=True)
class Entry:
    """A registered name with its parameters; ``defaults`` holds the trailing ones that may be left out."""

    name: str
    parameters: tuple[str, ...]
    defaults: dict[str, Any]
    function: Callable[..., Any]

    @property
    def template(self) -> str:
        """``word(a,b)``, for messages and listings."""
        return f"{self.name}({','.join(self.parameters)})" if self.parameters else self.name

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    def complete(self, given: tuple[Any, ...], whole: str) -> tuple[Any, ...]:
        """Arguments with the defaults filled in, or one sentence that says which are missing."""
        missing = [p for p in self.parameters[len(given) :] if p not in self.defaults]
        if missing or len(given) > len(self.parameters):
            raise UserError(f"{whole!r} has {len(given)} parameters, but the form is {self.template!r}")
        return given + tuple(self.defaults[p] for p in self.parameters[len(given) :])


class Registry:
    """The names of one kind (``"sampler"``, ``"formulation"``), extensible under an entry-point ``group``."""

    def __init__(self, kind: str, group: str, taken: Callable[[str], bool] = lambda name: False) -> None:
        self.kind, self.group = kind, group
        self.entries: dict[str, Entry] = {}
        self.caches: list[Callable[[], object]] = []
        """What to call when a name means something else than before."""
        self._taken = taken
        self._loaded = False

    def register(self, template: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorator: ``@register("word(a,b)")`` on a function of numbers; defaults may be left out.

        Raises:
            UserError: a malformed template, parameters that differ from the function's, or a name that
                exists.
        """
        match = _TEMPLATE.fullmatch(template.strip())
        if match is None:
            raise UserError(f"cannot register {template!r}: expected a form such as 'my/path(s)'")
        name, parameters = match[1], tuple(p.strip() for p in (match[2] or "").split(",") if p.strip())

        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            signature = inspect.signature(function).parameters
            if tuple(signature) != parameters:
                raise UserError(
                    f"cannot register {template!r}: the function takes ({', '.join(signature)}), "
                    f"the name says ({', '.join(parameters)})"
                )
            if name in self.entries or self._taken(name):
                raise UserError(f"cannot register {template!r}: a {self.kind} named {name!r} exists already")
            defaults = {k: p.default for k, p in signature.items() if p.default is not p.empty}
            self.entries[name] = Entry(name, parameters, defaults, function)
            return function

        return decorate

    def find(self, name: str) -> Entry | None:
        """The entry of that name; installed packages are asked only if it is not known yet."""
        if name not in self.entries:
            self.load_installed()
        return self.entries.get(name)

    def unknown(self, name: str) -> UserError:
        """The error for a name that nobody registered."""
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
