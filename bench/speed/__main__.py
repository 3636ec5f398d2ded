"""The command ``python -m bench.speed``: measure part by part, print a line for each thing, write JSON if asked to."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import torch

from bench.config.presets import PRESETS
from bench.launch import snapshot
from bench.machine.device import device_name, keep_freed_memory, versions
from bench.machine.matmul import fast_products
from bench.speed.sizes import SIZES, TINY, Scope
from bench.speed.timing import HEADING, Row
from flowbench._core import atomic
from flowbench._core.command import COUNT, Parser, one_of, outcome
from flowbench._core.errors import UserError

MODULES = {
    "training_steps": ("step", "networks", "members", "rates", "work", "threads"),
    "evaluation": ("generate", "metrics", "data"),
    "commands": ("grid",),
}
PARTS = {part: module for module, parts in MODULES.items() for part in parts}
"""The parts in their order, and the module with a function of that name."""
OPTIONS: dict[str, tuple[str, ...]] = {
    "repeats": tuple(part for part in PARTS if part != "grid"),
    "sizes": ("step", "rates"),
    "no_compile": ("step", "members", "rates"),
    "members": ("members",),
    "presets": ("grid",),
    "paper_steps": ("grid",),
}
"""The parts that read an option."""
USUAL = ("smoke", "quick")
"""Presets that are run unless others are named."""
PEERS = ("diffusers", "mmdit", "clean-fid", "torch-fidelity")
"""Packages whose versions the numbers depend on."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 2 for a user's mistake, 130 if interrupted."""
    return outcome(lambda: command(parse(argv)), "interrupted")


def parser() -> Parser:
    """The command's options."""
    made = Parser(
        prog="python -m bench.speed",
        description="Measure what the harness costs on this machine, against its peers.",
        epilog="An option of a part that is not run is a mistake.",
    )
    add = made.add_argument
    parts, sizes = f"{' '.join(PARTS)} (default: all)", f"of step and rates: {' '.join(SIZES)}"
    presets = f"run whole (default: {' '.join(USUAL)})"
    add("--parts", nargs="+", type=one_of(PARTS), metavar="PART", help=parts)
    repeats = "alternations of every pair (default: 15; fewer where a pair is slow)"
    add("--repeats", type=COUNT, metavar="N", help=repeats)
    add("--sizes", nargs="+", type=one_of(SIZES), metavar="SIZE", help=sizes)
    members = "members in one graph (default: 1 4 16, and 61 on a GPU)"
    add("--members", nargs="+", type=COUNT, metavar="E", help=members)
    add("--no-compile", action="store_true", default=None, help="leave the compiled pairs out")
    add("--presets", nargs="+", type=one_of(PRESETS), metavar="NAME", help=presets)
    add("--paper-steps", type=COUNT, metavar="N", help="training steps of the preset paper")
    checks = (
        "what only a GPU shows: right or wrong, and fast or not, in about ten minutes; alone, but for --json"
    )
    add("--gpu-checks", action="store_true", help=checks)
    tiny = "tiny sizes, one alternation: shows that a part runs, measures nothing"
    add("--tiny", action="store_true", help=tiny)
    where = "write the rows with device, threads, versions and commit"
    add("--json", type=Path, metavar="FILE", help=where)
    return made


def parse(argv: Sequence[str] | None) -> Scope:
    """What the options ask for. Raises :class:`UserError`, also for an option that nothing reads."""
    args = parser().parse(argv)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if args.gpu_checks:
        for name in ("parts", "tiny", *OPTIONS):
            if getattr(args, name):
                raise UserError(
                    f"--{name.replace('_', '-')} with --gpu-checks: the checks have sizes of their own, so leave one of the "
                    f"two away"
                )
    parts = tuple(part for part in PARTS if part in (args.parts or PARTS))
    for name, readers in OPTIONS.items():
        option = "--" + name.replace("_", "-")
        if getattr(args, name) is None:
            continue
        if not set(readers) & set(parts):
            raise UserError(
                f"{option} belongs to {' and '.join(map(repr, readers))}, which --parts leaves out: "
                f"add --parts {readers[0]} or leave {option} away"
            )
        if args.tiny and name in ("sizes", "no_compile"):
            raise UserError(
                f"{option} with --tiny: --tiny has one size and compiles nothing, so leave one of the two away"
            )
    file = args.json
    if file and file.is_dir():
        raise UserError(f"--json {file} is a folder: name a file, for example {file / 'speed.json'}")
    sizes = (TINY,) if args.tiny else tuple(SIZES[name] for name in args.sizes or SIZES)
    members = args.members or ((2,) if args.tiny else (1, 4, 16, 61) if device.type == "cuda" else (1, 4, 16))
    presets = tuple(args.presets or (USUAL[:1] if args.tiny else USUAL))
    if args.paper_steps is not None and "paper" not in presets:
        raise UserError(
            f"--paper-steps {args.paper_steps} belongs to the preset 'paper': add it to --presets"
        )
    compiled = not (args.no_compile or args.tiny)
    limits = compiled, args.tiny, args.paper_steps, args.repeats, file
    return Scope(parts, device, sizes, tuple(members), presets, *limits, checks=args.gpu_checks)


def command(scope: Scope) -> int:
    """Measure and print; the file is written again after every part, so that a later mistake costs no earlier number."""
    keep_freed_memory()
    fast_products(scope.device)
    warnings.simplefilter("ignore", FutureWarning)  # the peers use what torch deprecates
    if scope.checks:
        from bench.speed import gpu_checks  # with all that it checks, as parts are imported

        return gpu_checks.run(scope, machine(scope.device))
    compiling = OPTIONS["no_compile"] if scope.gpu else ("step", "rates")
    if scope.compiled and set(compiling) & set(scope.parts):
        check_compiler(scope.device)
    facts, rows = machine(scope.device), []
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    print(HEADING)
    for part, module in PARTS.items():
        if part not in scope.parts:
            continue
        measured: Callable[[Scope], Iterator[Row]] = getattr(import_module(f"bench.speed.{module}"), part)
        for row in measured(replace(scope, part=part)):
            rows.append(replace(row, part=part))
            print(rows[-1], flush=True)
        if scope.json:
            atomic.write_json(scope.json, {"machine": facts, "rows": [asdict(row) for row in rows]})
    return 0


def machine(device: torch.device) -> dict[str, Any]:
    """Device, threads, versions and commit, without names of hosts or paths."""
    facts = {"device": device_name(device), "threads": torch.get_num_threads(), **versions()}
    for name in PEERS:
        with suppress(metadata.PackageNotFoundError):
            facts[name] = metadata.version(name)
    return facts | {"commit": snapshot.commit() or "unknown"}


def check_compiler(device: torch.device) -> None:
    """Raise :class:`UserError` if ``torch.compile`` does not work here, before anything is measured."""
    try:
        torch.compile(torch.cos)(torch.zeros(1, device=device))
    except RuntimeError as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"torch.compile does not work here ({reason}): leave the compiled pairs out with --no-compile"
        ) from None


if __name__ == "__main__":
    sys.exit(main())
