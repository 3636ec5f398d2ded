"""The options of how workers run, which change no result beyond float rounding: most set a field of
:class:`bench.runfolder.submission.Execution`. No torch."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from bench import tracking
from bench.launch.launchers import Launcher
from bench.runfolder.submission import MODES, Execution
from flowbench._core.command import COUNT, POSITIVE
from flowbench._core.errors import UserError

TEXTS: dict[str, tuple[str, str]] = {
    "device": ("NAME", "auto, cpu, cuda, cuda:1, mps (default %(default)s; slurm: cuda)"),
    "slots": ("N", "local: workers at a time (default auto: one for each GPU, else 1)"),
    "pack": ("N", "cells that train in one graph: auto or a number (default auto)"),
    "replicas": (
        "R",
        "devices that train a pack together, each on its part of every batch (default %(default)s)",
    ),
    "shard": (
        "off|blocks",
        "blocks: replicas divide the parameters of a cell and all that belongs to them, and gather a block's while it is "
        "computed (FSDP), for cells that no device holds (default %(default)s)",
    ),
    "accumulate": (
        "N",
        "micro-batches of a step, whose gradients are added: less memory, the same batch (default %(default)s)",
    ),
    "recompute": (
        "off|blocks",
        "activation checkpointing: blocks keeps each block's inputs and computes the rest again in the backward pass, "
        "for less memory and a third more time (default %(default)s)",
    ),
    "compile": (
        "auto|on|off",
        "torch.compile the model; auto decides by measurement (default %(default)s)",
    ),
    "checkpoint": ("MINUTES", "between checkpoints (default 5)"),
    "track": (
        "NAME",
        f"show losses and metrics live, a run a cell: {', '.join(tracking.registry.entries)}, or a plugin's",
    ),
    "probes": (
        "",
        "measure each block's largest attention logit and attention entropy at every validation (metrics.jsonl)",
    ),
    "trusted": (
        "",
        "use a run folder that another user owns or can write into: what lies there is run as you",
    ),
}
"""Metavar and help of each field but the launcher's name; flags have no value."""
NAMES = {"trusted": "trust-folder"}
"""Options that are not called as their field."""


def count(text: str) -> int | None:
    """``auto`` is None."""
    try:
        return None if text == "auto" else int(COUNT(text))
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or 'auto'") from None


def minutes(text: str) -> float:
    """Minutes as seconds."""
    return 60 * float(POSITIVE(text))


READS: dict[Any, Callable[[str], Any]] = {int: COUNT, int | None: count, float: minutes}
"""How a value of a field is read, by its type; every other is text."""


def add_workers(running: argparse._ArgumentGroup) -> None:
    """Add the options of workers on any machine, and of the folder that they write."""
    hints = get_type_hints(Execution)
    for field, (metavar, text) in TEXTS.items():
        name, hint = f"--{NAMES.get(field, field)}", hints[field]
        if hint is bool:
            running.add_argument(name, dest=field, action="store_true", help=text)
        else:
            choices = get_args(hint) if get_origin(hint) is Literal else None
            default, reads = getattr(Execution, field), READS.get(hint, str)
            running.add_argument(
                name, dest=field, type=reads, default=default, choices=choices, metavar=metavar, help=text
            )
    running.add_argument(
        "--retry",
        choices=("failed", "all"),
        metavar="failed|all",
        help="also run failed cells from where they were; all: failed and diverged cells from the start",
    )
    running.add_argument(
        "--readable-by",
        choices=tuple(MODES),
        metavar="me|group|all",
        help="who may read a new run folder (default me)",
    )


def execution_of(args: argparse.Namespace, launcher: Launcher) -> Execution:
    """How workers run that ``launcher`` starts. Raises :class:`UserError`."""
    if args.replicas > 1 and args.device not in ("auto", "cpu", "cuda"):
        raise UserError(
            f"--device {args.device}: each of {args.replicas} replicas has a device of its own, choose auto, cpu or cuda"
        )
    if args.track is not None:
        tracking.get(args.track)
    return launcher.accept(
        divided(Execution(launcher.name, **{field: getattr(args, field) for field in TEXTS}))
    )


def divided(execution: Execution) -> Execution:
    """One cell a pack where parameters are divided. Raises :class:`UserError` for what cannot be divided."""
    if execution.shard == "off":
        return execution
    if execution.replicas == 1:
        raise UserError(
            f"--shard {execution.shard}: one replica has nothing to divide, choose --replicas 2 or more"
        )
    if execution.pack not in (None, 1):
        raise UserError(
            f"--shard {execution.shard}: it trains one cell at a time, not --pack {execution.pack}: leave one out"
        )
    if execution.compile == "on":
        raise UserError(
            f"--shard {execution.shard}: blocks that gather their parameters are not compiled: leave out --compile on"
        )
    return replace(execution, pack=1)
