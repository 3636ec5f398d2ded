"""The command ``python -m bench.speed``: measure part by part, print a line for each thing, write JSON if asked to."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from importlib import import_module, metadata
from typing import Any

import torch

from bench.launch import snapshot
from bench.machine.machine import device_name, versions
from bench.machine.memory import keep_freed_memory
from bench.machine.products import fast_products
from bench.speed.options import Plan, parse
from bench.speed.timing import Row
from flowbench._core import atomic
from flowbench._core.command import outcome
from flowbench._core.errors import UserError

PEERS = ("diffusers", "mmdit", "clean-fid", "torch-fidelity")
"""Packages whose versions the numbers depend on."""

WIDTH = 72
"""Columns of what a line measures."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 2 for a user's mistake, 130 if interrupted."""
    return outcome(lambda: command(parse(argv)), "interrupted")


def command(plan: Plan) -> int:
    """Measure and print; the file is written again after every part, so that a later mistake costs no earlier number."""
    keep_freed_memory()
    fast_products(plan.device)
    warnings.simplefilter("ignore", FutureWarning)  # the peers use what torch deprecates
    if plan.compiles:
        check_compiler(plan.device)
    facts, rows = machine(plan.device), []
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    print(f"{'':{WIDTH}}  {'ours':>10} {'other':>10} {'ratio':>6}  ours / other; unit; against")
    for part in plan.parts:
        for row in measured(part, plan):
            print(line(row), flush=True)
            rows.append(row)
        if plan.json:
            atomic.write_json(plan.json, {"machine": facts, "rows": [asdict(row) for row in rows]})
    return 0


def measured(part: str, plan: Plan) -> Iterator[Row]:
    """The rows of a part; its module is imported when its turn comes."""
    module: Callable[[Plan], Iterator[Row]] = import_module(f"bench.speed.{part}").rows
    return module(plan)


def line(row: Row) -> str:
    """A row as text."""
    other, ratio = (f"{v:.4g}" if v is not None else "" for v in (row.other, row.ratio))
    said = "; ".join(part for part in (row.unit, row.against, row.note) if part)
    return f"{f'{row.part}: {row.what}':{WIDTH}}  {row.ours:10.4g} {other:>10} {ratio:>6}  {said}"


def machine(device: torch.device) -> dict[str, Any]:
    """Device, threads, versions and commit, without names of hosts or paths."""
    return {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        **versions(),
        **{name: version for name in PEERS if (version := installed(name))},
        "commit": snapshot.commit() or "unknown",
    }


def check_compiler(device: torch.device) -> None:
    """Raise :class:`UserError` if ``torch.compile`` does not work here, before anything is measured."""
    try:
        torch.compile(torch.cos)(torch.zeros(1, device=device))
    except RuntimeError as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"torch.compile does not work here ({reason}): leave the compiled pairs out with --no-compile"
        ) from None


def installed(package: str) -> str | None:
    """The version of a package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
