"""The options of ``python -m bench.speed``; each belongs to parts, and is refused where none of them is run."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.config.presets import preset
from bench.speed.sizes import SIZES, TINY, Size
from flowbench._core.command import INT, Parser
from flowbench._core.errors import UserError, nearest

REPEATS = {
    "step": 15,
    "members": 15,
    "generate": 3,
    "metrics": 3,
    "data": 3,
    "rates": 15,
    "work": 15,
    "threads": 9,
}
"""Alternations of every pair of a part unless ``--repeats`` says otherwise; parts with slow pairs have fewer."""

PARTS = ("step", "members", "generate", "metrics", "data", "grid", "rates", "work", "threads")

OPTIONS: dict[str, tuple[str, ...]] = {
    "repeats": tuple(REPEATS),
    "sizes": ("step", "rates"),
    "no_compile": ("step", "members", "rates"),
    "members": ("members",),
    "presets": ("grid",),
    "paper_steps": ("grid",),
}
"""The parts that read an option."""

PRESETS = ("smoke", "quick")


@dataclass(frozen=True)
class Plan:
    """What is measured, and where."""

    parts: tuple[str, ...]
    device: torch.device
    sizes: tuple[Size, ...]
    members: tuple[int, ...]
    presets: tuple[str, ...]
    compiled: bool = True
    tiny: bool = False
    paper_steps: int | None = None
    repeats: int | None = None
    json: Path | None = None

    @property
    def gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"

    @property
    def compiles(self) -> bool:
        """Whether a part that is run compiles something."""
        needing = OPTIONS["no_compile"] if self.gpu else ("step", "rates")
        return self.compiled and not set(needing).isdisjoint(self.parts)

    def turns(self, part: str) -> int:
        """Alternations of every pair of a part."""
        return self.repeats or (1 if self.tiny else REPEATS[part])

    def fitting(self, part: str) -> Iterator[Size]:
        """The sizes that this device can take; of the others it is said that they are left out."""
        for size in self.sizes:
            if size.needs_gpu and not self.gpu:
                print(f"{part}: {size.name} ({size}) needs a GPU: left out")
            else:
                yield size

    @property
    def calls(self) -> int:
        """Steps of one timing: on a GPU enough of them to keep its queue filled."""
        return 10 if self.gpu else 1


def parser() -> Parser:
    """The command's options."""
    made = Parser(
        prog="python -m bench.speed",
        description="Measure what the harness costs on this machine, against its peers.",
        epilog="An option of a part that is not run is a mistake.",
        allow_abbrev=False,
    )
    made.add_argument("--parts", nargs="+", metavar="PART", help=" ".join(PARTS) + " (default: all)")
    made.add_argument(
        "--repeats",
        type=INT,
        metavar="N",
        help="alternations of every pair (default: 15; 3 where a pair is slow)",
    )
    made.add_argument("--sizes", nargs="+", metavar="SIZE", help=f"of step and rates: {' '.join(SIZES)}")
    made.add_argument(
        "--members",
        nargs="+",
        type=INT,
        metavar="E",
        help="members in one graph (default: 1 4 16, and 61 on a GPU)",
    )
    made.add_argument("--no-compile", action="store_true", default=None, help="leave the compiled pairs out")
    made.add_argument(
        "--presets", nargs="+", metavar="NAME", help=f"run whole (default: {' '.join(PRESETS)})"
    )
    made.add_argument("--paper-steps", type=INT, metavar="N", help="training steps of the preset paper")
    made.add_argument(
        "--tiny",
        action="store_true",
        help="tiny sizes, one alternation: shows that a part runs, measures nothing",
    )
    made.add_argument(
        "--json", type=Path, metavar="FILE", help="write the rows with device, threads, versions and commit"
    )
    return made


def parse(argv: Sequence[str] | None) -> Plan:
    """The plan that the options describe. Raises :class:`UserError`."""
    made = parser()
    args = made.parse(argv)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    parts = tuple(part for part in PARTS if part in known("--parts", args.parts or PARTS, PARTS))
    check_used(args, parts)
    check_numbers(args)
    if args.json and args.json.is_dir():
        raise UserError(
            f"--json {args.json} is a folder: name a file, for example {args.json / 'speed.json'}"
        )
    presets = tuple(args.presets or (PRESETS[:1] if args.tiny else PRESETS))
    check_presets(presets, args.paper_steps)
    return Plan(
        parts,
        device,
        (TINY,) if args.tiny else chosen_sizes(args.sizes),
        tuple(
            args.members or ((2,) if args.tiny else (1, 4, 16, 61) if device.type == "cuda" else (1, 4, 16))
        ),
        presets,
        not (args.no_compile or args.tiny),
        args.tiny,
        args.paper_steps,
        args.repeats,
        args.json,
    )


def known(option: str, values: Sequence[str], choices: Iterable[str]) -> Sequence[str]:
    """The values of an option, each one of the choices."""
    for value in values:
        if value not in choices:
            raise UserError(f"{option} {value!r}: {nearest(value, choices)}")
    return values


def chosen_sizes(names: Sequence[str] | None) -> tuple[Size, ...]:
    """The sizes to time, all of them by default."""
    return tuple(SIZES[name] for name in known("--sizes", names or tuple(SIZES), SIZES))


def check_used(args: argparse.Namespace, parts: Sequence[str]) -> None:
    """Refuse an option that nothing reads."""
    for name, readers in OPTIONS.items():
        value: Any = getattr(args, name)
        option = "--" + name.replace("_", "-")
        if value is not None and not set(readers) & set(parts):
            raise UserError(
                f"{option} belongs to {' and '.join(map(repr, readers))}, which --parts leaves out: "
                f"add --parts {readers[0]} or leave {option} away"
            )
    for name in ("sizes", "no_compile"):
        if args.tiny and getattr(args, name) is not None:
            option = "--" + name.replace("_", "-")
            raise UserError(
                f"{option} with --tiny: --tiny has one size and compiles nothing, so leave one of the two away"
            )


def check_numbers(args: argparse.Namespace) -> None:
    """Refuse numbers that count nothing."""
    given = [("repeats", args.repeats), ("paper-steps", args.paper_steps)]
    given += [("members", count) for count in args.members or ()]
    for name, value in given:
        if value is not None and value < 1:
            raise UserError(f"--{name} {value}: must be greater than 0")


def check_presets(presets: Sequence[str], paper_steps: int | None) -> None:
    """Refuse unknown presets, and a number of steps for a preset that is not run."""
    for name in presets:
        preset(name)
    if paper_steps is not None and "paper" not in presets:
        raise UserError(f"--paper-steps {paper_steps} belongs to the preset 'paper': add it to --presets")
