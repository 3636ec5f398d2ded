"""``python -m formulations``: shows formulations, draws them, checks new ones."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from flowbench._core.command import Parser, outcome
from flowbench._core.errors import UserError
from flowbench._core.plugin import load_plugin
from formulations import printout
from formulations.catalogue import match, names
from formulations.check_formulation import check
from formulations.formulation_registry import registry
from formulations.specs import get
from samplers.sampler_registry import registry as sampler_registry


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 0, or 2 after one sentence about a user's mistake."""
    args = list(sys.argv[1:] if argv is None else argv)
    commands = {"check": _check, "list": _list}
    if args and args[0] in commands:
        return outcome(lambda: commands[args[0]](args[1:]))
    return outcome(lambda: _show(args))


def _plugins(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--plugin", action="append", default=[], metavar="FILE", help="Python file that registers names"
    )


def _show(args: list[str]) -> int:
    parser = Parser(
        prog="python -m formulations",
        description="Shows flow formulations: formula, coefficients, share of the training per noise level.",
        epilog=printout.examples(printout.columns()),
    )
    parser.add_argument(
        "spec", nargs="*", help="name or shell glob, e.g. rf, 'edm(-1.2,1.2)', '*/cosmap'; or: list, check"
    )
    parser.add_argument(
        "--plot", metavar="FILE", help="draw density, weight and budget into FILE (.png or .svg)"
    )
    _plugins(parser)
    given = parser.parse(args)
    for file in given.plugin:
        load_plugin(file)
    if not given.spec:
        if given.plot:
            raise UserError("--plot needs at least one formulation, e.g. 'rf/lognorm(0,1)'")
        print(printout.overview(printout.columns()))
        return 0
    if given.plot:
        from formulations.plot import checked

        checked(given.plot)
    chosen = [get(name) for name in match(given.spec, "all")]
    print("\n\n".join(printout.describe(f, printout.columns()) for f in chosen))
    if given.plot:
        from formulations.plot import save

        print(f"\nwrote {save(chosen, given.plot)}")
    return 0


def _list(args: list[str]) -> int:
    parser = Parser(prog="python -m formulations list", description="Prints names, one per line.")
    parser.add_argument(
        "suite", nargs="?", default="all", help="paper, published, extra, registered or all (default)"
    )
    _plugins(parser)
    given = parser.parse(args)
    for file in given.plugin:
        load_plugin(file)
    print("\n".join(names(given.suite)))
    return 0


def _check(args: list[str]) -> int:
    parser = Parser(
        prog="python -m formulations check",
        description="Checks formulations before they are trained: finite, monotone, decodable, elementwise.",
    )
    parser.add_argument(
        "spec", nargs="+", metavar="SPEC|FILE", help="names, globs, or Python files whose names to check"
    )
    _plugins(parser)
    given = parser.parse(args)
    for file in given.plugin:
        load_plugin(file)
    chosen: dict[str, None] = {}
    for spec in given.spec:
        chosen.update(dict.fromkeys(_of_file(spec) if spec.endswith(".py") else match([spec], "all")))
    for name in chosen:
        print(printout.checked(name, check(get(name)), printout.columns()))
    return 0


def _of_file(path: str) -> list[str]:
    """The formulations that a plugin registers, and its samplers behind ``rf``."""
    found = []
    for name in load_plugin(path):
        entry = registry.entries.get(name) or sampler_registry.entries[name]
        missing = [p for p in entry.parameters if p not in entry.defaults]
        if missing:
            raise UserError(
                f"{path}: {entry.template!r} lacks a value for {', '.join(missing)}: "
                f"give the function defaults, or check '{entry.template}' with numbers and --plugin {path}"
            )
        found.append(get(name if name in registry.entries else f"rf/{name}").name)
    if not found:
        raise UserError(f"{path} registers no formulation and no sampler")
    return found


if __name__ == "__main__":
    raise SystemExit(main())
