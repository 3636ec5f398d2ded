"""``python -m bench.plugins``: what can be added to by plugins, every member of each kind, and the check of new ones."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flowbench._core.command import Parser, outcome
from flowbench._core.errors import UserError, nearest
from flowbench._core.plugin import added_by, load_plugin
from flowbench._core.readable import wrapped
from flowbench._core.registry import KINDS, Entry, Registry
from flowbench._core.terminal import width

ROOMS = (
    "samplers",
    "formulations",
    "bench.data",
    "bench.models",
    "bench.solvers",
    "bench.optimisers",
    "bench.objectives",
    "bench.encoders",
    "bench.launch",
    "bench.metrics",
    "bench.tracking",
)
"""Packages whose import makes the registry of a kind, and registers its members."""
EXAMPLES = """examples:
  python -m bench.plugins
  python -m bench.plugins check my.py
  python -m bench.plugins check formulation 'my/late(3)' --plugin my.py"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 0, or 2 after one sentence about a user's mistake."""
    return outcome(lambda: command(sys.argv[1:] if argv is None else argv))


def command(argv: Sequence[str]) -> int:
    """List every kind, or check what is named."""
    parser = Parser(
        prog="python -m bench.plugins",
        description="List the members of every kind that plugins can add to, or check new ones.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "check",
        nargs="*",
        metavar="check FILE | check KIND NAME ...",
        help="plugin files, or names of one kind",
    )
    parser.add_argument("--plugin", nargs="+", default=[], metavar="FILE", help="plugin files to load first")
    given = parser.parse(argv)
    for room in ROOMS:
        importlib.import_module(room)
    for file in given.plugin:
        load_plugin(file)
    if not given.check:
        print("\n\n".join(overview(registry) for registry in KINDS.values()))
        return 0
    word, *what = given.check
    if word != "check" or not what:
        raise UserError(f"{' '.join(given.check)!r}: say 'check FILE.py ...' or 'check KIND NAME ...'")
    members = of_files(what) if what[0].endswith(".py") else named(*what)
    for registry, name in members:
        print("\n".join([f"{registry.kind} {name}: ok", *(f"  {line}" for line in registry.check(name))]))
    return 0


def overview(registry: Registry[Any]) -> str:
    """A kind with its entry-point group, and its members."""
    names = registry.names()
    listed = ", ".join(registry.entries[name].template for name in names) or "none is registered"
    return "\n".join(
        [f"{registry.kind}  (entry points: {registry.group})", *wrapped(listed, width(), marks="")]
    )


def of_files(files: Sequence[str]) -> list[tuple[Registry[Any], str]]:
    """What plugin files register, of every kind. Raises :class:`UserError` for a file that registers nothing, and for a
    member without values for its parameters."""
    found: list[tuple[Registry[Any], str]] = []
    for file in files:
        load_plugin(file)
        added = added_by(Path(file))
        if not added:
            raise UserError(f"{file} registers nothing: {', '.join(KINDS)} can be registered")
        for kind, names in added.items():
            for name in names:
                require_values(KINDS[kind].entries[name], kind, file)
                found.append((KINDS[kind], name))
    return found


def named(kind: str, *names: str) -> list[tuple[Registry[Any], str]]:
    """Members of one kind by their names. Raises :class:`UserError` for no such kind, and for no name."""
    if kind not in KINDS:
        raise UserError(f"no kind is called {kind!r}; {nearest(kind, KINDS)}")
    if not names:
        raise UserError(f"check {kind} what? Name one, for example {next(iter(KINDS[kind].entries), 'NAME')}")
    return [(KINDS[kind], name) for name in names]


def require_values(entry: Entry[Any], kind: str, file: str) -> None:
    """Raise :class:`UserError` if a member cannot be made from its name alone."""
    missing = [p for p in entry.parameters if p not in entry.defaults]
    if missing:
        raise UserError(
            f"{file}: {entry.template!r} lacks a value for {', '.join(missing)}: give the function defaults, or "
            f"'check {kind} NAME --plugin {file}' with a name that has values"
        )


if __name__ == "__main__":
    sys.exit(main())
