"""Options that exclude each other, or do nothing together: each pair has its sentence."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from flowbench._core.errors import UserError

RUNNING = ("retry", "wait", "readable_by", "baseline", "track")
"""Options that do something only where cells are run."""


def check(args: argparse.Namespace, look: str | None) -> None:
    """Raise :class:`UserError` for the first conflict among the options of ``bench.grid``; ``look`` is what is looked at."""
    for sentence in conflicts(args, look):
        raise UserError(sentence)


def conflicts(args: argparse.Namespace, look: str | None) -> Iterator[str]:
    """A sentence for each conflict."""
    idle = [name for name in RUNNING if getattr(args, name) and look]
    idle += ["trust-folder"] * (args.trusted and look in ("status", "watch"))
    idle += [n for n in ("canary", "tflops", "price") if getattr(args, n) and look not in (None, "dry-run")]
    idle += ["confirm"] * (args.confirm is not None and look == "cancel")
    for name in idle:
        yield f"--{name.replace('_', '-')} does nothing with --{look}: leave one of them out"
    confirms, compares, races = args.confirm is not None, args.baseline is not None, bool(args.until)
    for name in ("metric", "margin"):
        if getattr(args, name) is not None and not (races or compares):
            yield f"--{name} chooses what decides: add --until decided or --baseline NAME"
    if confirms and compares:
        yield "--baseline and --confirm: choose one, as python -m analysis.rank --baseline prints it at any time"
    if confirms and races:
        yield "--until decided and --confirm: choose one, a race needs no new seeds, as its verdict holds at every look"
    for name in ("tflops", "price"):
        if getattr(args, name) and look is None:
            yield f"--{name} is for the estimate of --dry-run: leave it out, or add --dry-run"
