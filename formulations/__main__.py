"""``python -m formulations``: shows formulations, draws them, checks new ones."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Sequence

from formulations.catalogue import bases, match, names
from formulations.conformance import check
from formulations.formulation import Coeffs, Formulation
from formulations.registry import registry
from formulations.specs import get
from samplers.base import registry as sampler_registry
from samplers.command import Parser
from samplers.errors import UserError
from samplers.lazy import lazy
from samplers.plugin import load_plugin

torch = lazy("torch")

U = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles at which the coefficients are shown."""

EPILOG = """examples:
  python -m formulations                                    what there is
  python -m formulations rf 'rf/lognorm(0,1)' edm           formula, coefficients, training budget
  python -m formulations '*/lognorm(0,1)' --plot out.svg    one sampler behind every base, as a picture
  python -m formulations list paper                         the names of a suite, one per line
  python -m formulations check my.py                        check what a plugin adds before training it"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 0, or 2 after one sentence about a user's mistake."""
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        if args[:1] == ["check"]:
            return _check(args[1:])
        if args[:1] == ["list"]:
            return _list(args[1:])
        return _show(args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, such as head, has seen enough; nothing is left to flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _plugins(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--plugin", action="append", default=[], metavar="FILE", help="Python file that registers names"
    )


def _show(args: list[str]) -> int:
    parser = Parser(
        prog="python -m formulations",
        description="Shows flow formulations: formula, coefficients, share of the training per noise level.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
        print(_overview())
        return 0
    if given.plot:
        from formulations.plot import checked

        checked(given.plot)
    chosen = [get(name) for name in match(given.spec, "all")]
    print("\n\n".join(describe(f) for f in chosen))
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
        passed = check(get(name))
        print(f"{name}: ok")
        print("\n".join(f"  {line}" for line in passed))
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


def _overview() -> str:
    suites = {
        "paper": "the study's (arXiv 2403.03206)",
        "published": "those with numbers in the paper",
        "extra": "what came after",
        "registered": "from plugins and installed packages",
    }
    counts = "\n".join(f"  {suite:<11}{len(names(suite)):>4}  {text}" for suite, text in suites.items())
    laws = textwrap.wrap(", ".join(e.template for e in sampler_registry.entries.values()), 90)
    samplers_ = ("\n" + " " * 12).join(laws)
    return (
        f"Formulations by suite:\n{counts}\n\n"
        "A name is base[/sampler][@space][+weight].\n"
        f"  bases     {', '.join(bases())}, <target>/<path>\n"
        "  targets   x, eps, v, u (velocity), F(sd)\n"
        "  paths     rf, linear, ztlinear, cos, vp(beta_min,beta_max), ve, trig(sd), poly(n)\n"
        f"  samplers  {samplers_}\n"
        "  spaces    @x, @eps, @v\n"
        "  weights   +minsnr(g), +softminsnr(g), +p2(k,g), +debiased(cap), +sigmoid(bias),\n"
        "            +edmmono(Pm,Ps,sd), +bell\n\n"
        f"{EPILOG}"
    )


def describe(f: Formulation) -> str:
    """Text for people: formula, the seven scalars at a few quantiles, the budget per fifth of the clock."""
    from formulations.profile import budget, law

    lines = [f.name, *(f"  {part.strip()}" for part in f.formula.split(";")), f"  times {law(f)}"]
    u = torch.tensor(U, dtype=torch.float64)
    t = f.times(u)
    lines.append("  " + "".join(f"{head:>9}" for head in ("u", "t", "clock", *Coeffs._fields)))
    for row in zip(u, t, f.clock(t), *f.coeffs(t), strict=True):
        lines.append("  " + "".join(f"{float(z):>9.4g}" for z in row))
    for phase, progress in (("", 0.0), (" at the end", 1.0))[: 2 if f.law.switch else 1]:
        shares = "  ".join(f"{100 * z:.0f}%" for z in budget(f, progress=progress))
        lines.append(f"  training budget per fifth of the clock{phase}, data to noise:  {shares}")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
